// What the browser is to do beside what Gradio does, once the page is there.
() => {
  // Of a clip that only the detector can read Gradio would say "Error". Its own ears are on the player, so this hears first.
  for (const happened of ['error', 'loadeddata']) document.addEventListener(happened, event => {
    const player = event.target;
    if (!player.matches('#clip video')) return;
    if (happened === 'error') event.stopImmediatePropagation();
    player.parentElement.toggleAttribute('data-unplayable', !player.videoWidth);  // of some it plays the sound alone
  }, true);
}
