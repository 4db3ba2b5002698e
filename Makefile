PYTHON ?= python3
RUN = @$(PYTHON) -m course_utils.start $@ $(ARGS)

.PHONY: help lab test notebooks homework grade bench install
help:            ## what there is (default)
	@sed -n 's/^\([a-z]*\): *## /  make \1\t/p' Makefile
lab:             ## open the course in JupyterLab   (PORT=8888, NO_BROWSER=1, PYTHON=python3.12)
	$(RUN)
test:            ## ruff, pytest, strict nbval over every notebook   (ARGS="-k explore")
	$(RUN)
notebooks:       ## rebuild notebooks/*.ipynb from notebooks/source   (ARGS="03", ARGS="--check")
	$(RUN)
homework:        ## students' homework and the zip they download   (SEED=2027, ARGS="hw03", ARGS="--check")
	$(RUN)
grade:           ## mark what students handed in; see TEACHING.md   (ARGS="hw03 --jobs 4")
	$(RUN)
bench:           ## sliders, lessons, grading, training   (ARGS="training --device cpu")
	$(RUN)
install:         ## .venv and its packages only   (ARGS="dev bench" adds those extras)
	$(RUN)
