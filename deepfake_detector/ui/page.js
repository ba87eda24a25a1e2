// What the browser is to do beside what Gradio does, once the page is there.
() => {
  // A screen reader is to tell what comes there, and what the example pictures are.
  const SPOKEN = '#status, #verdict, #noted, #clip_verdict, #many_told, #taught';
  const name = () => {
    for (const place of document.querySelectorAll(SPOKEN)) if (!place.ariaLive) place.ariaLive = 'polite';
    for (const picture of document.querySelectorAll('.gallery-item img[alt=""]'))
      picture.alt = `Example: ${picture.src.split('/').pop().split('.')[0].replaceAll('_', ' ')}`;
    // To Gradio each choice is a group of its own, and none has a name: no arrow key would lead from one to the next.
    for (const choice of document.querySelectorAll('#clip_frames input')) choice.name = 'clip_frames';
    for (const group of document.querySelectorAll('#clip_frames')) {
      group.role = 'radiogroup';
      group.ariaLabel = group.querySelector('[data-testid=block-info]').textContent;
    }
  };
  new MutationObserver(name).observe(document.body, {childList: true, subtree: true});  // a tab is made once it is opened
  name();
  // Of a clip that only the detector can read Gradio would say "Error". Its own ears are on the player, so this hears first.
  for (const happened of ['error', 'loadeddata']) document.addEventListener(happened, event => {
    const player = event.target;
    if (!player.matches('#clip video')) return;
    if (happened === 'error') event.stopImmediatePropagation();
    player.parentElement.toggleAttribute('data-unplayable', !player.videoWidth);  // of some it plays the sound alone
  }, true);
  // Gradio takes what is pasted by its own button, or dropped onto the box itself; a browser would leave the page for a file dropped beside it.
  const boxes = () => [...document.querySelectorAll('input[type=file]')].filter(box => box.closest('[role=tabpanel]').checkVisibility());
  const give = (event, {files}) => {
    if (event.defaultPrevented || !files.length) return;
    event.preventDefault();
    const [box, another] = boxes();
    if (!box || another) return;  // which of two is meant?
    box.files = files;
    box.dispatchEvent(new Event('change', {bubbles: true}));
  };
  // Of files alone: a browser sets words down where they are dropped only if nobody else says that they may be. Of a picture of the page
  // itself it has a file out, too, which would be judged where somebody lets go of it.
  const own = 'application/x-own';
  document.addEventListener('dragstart', event => event.dataTransfer.setData(own, 'yes'));
  document.addEventListener('dragover', event => {
    const {types} = event.dataTransfer;
    if (types.includes('Files') && !types.includes(own)) event.preventDefault();
  });
  document.addEventListener('drop', event => give(event, event.dataTransfer));
  document.addEventListener('paste', event => {
    const words = event.target.closest('input, textarea') && event.clipboardData.types.includes('text/plain');
    if (!words) give(event, event.clipboardData);  // a word processor copies both
  });
}
