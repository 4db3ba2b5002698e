"""A button that speaks a dialogue with the browser's own voices; disabled, with a line that says so, where it has none."""
import anywidget
import traitlets as T


class Listen(anywidget.AnyWidget):
    """`Listen(turns=[["Student", "..."], ["Teacher", "..."]])`: each speaker gets a voice and a pitch of their own.

    Nothing is spoken before the button is pressed, and voices of the computer itself come before those that need a network.
    """

    turns = T.List([]).tag(sync=True)
    _esm = """
    function render({ model, el }) {
      const speech = window.speechSynthesis;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "jupyter-button widget-button elbo-listen";
      el.append(button);
      let mine = null, waited = !speech, utterance;           // the utterance is kept, or it may be collected while it speaks
      const voices = () => {
        const all = speech ? speech.getVoices() : [];
        const english = all.filter((v) => v.lang.toLowerCase().startsWith("en"));
        return (english.length ? english : all).sort((a, b) => b.localService - a.localService);
      };
      const mark = (i) => el.closest(".elbo-live")?.querySelectorAll(".elbo-turn").forEach(
        (turn, j) => turn.classList.toggle("elbo-speaking", i === j));
      const draw = () => {
        const none = !voices().length;
        button.disabled = none;
        button.textContent = none && waited ? "no speech in this browser" : mine ? "Stop" : "Listen";
      };
      const finish = () => { mine = null; mark(-1); draw(); };
      const say = (i, token) => {
        if (window.elboSpeaker !== token) { if (mine === token) finish(); return; }    // another dialogue speaks now
        const turns = model.get("turns"), pool = voices();
        if (i >= turns.length || !pool.length) return finish();
        const who = [...new Set(turns.map((t) => t[0]))].indexOf(turns[i][0]);
        utterance = new SpeechSynthesisUtterance(turns[i][1]);
        utterance.voice = pool[who % pool.length];
        utterance.lang = utterance.voice.lang;
        utterance.pitch = who % 2 ? 0.85 : 1.2;
        utterance.onend = () => say(i + 1, token);
        utterance.onerror = () => { if (mine === token) finish(); };
        mark(i);
        speech.speak(utterance);
      };
      const stop = () => { window.elboSpeaker = null; finish(); speech.cancel(); };
      button.onclick = () => {
        if (mine) return stop();
        speech.cancel();
        mine = window.elboSpeaker = {};
        draw();
        say(0, mine);
      };
      speech?.addEventListener?.("voiceschanged", draw);
      const timer = setTimeout(() => { waited = true; draw(); }, 2000);               // voices may come late
      draw();
      return () => { clearTimeout(timer); speech?.removeEventListener?.("voiceschanged", draw); if (mine) stop(); };
    }
    export default { render };
    """
