// What the browser is to do beside what Gradio does, once the page is there. `endings` has those of files' names, by the box that takes them,
// `titles` what the boxes' tabs are called; `most` how many files a box takes at once, of those that take several; `largest` how many bytes
// a file may have.
(endings, titles, most, largest) => {
  // A screen reader is to tell what comes there.
  const SPOKEN = '#status, #lost, #verdict, #noted, #clip_verdict, #many_told, #taught';
  const name = () => {
    for (const place of document.querySelectorAll(SPOKEN)) if (!place.ariaLive) place.ariaLive = 'polite';
    for (const button of document.querySelectorAll('[title="common.upload"]')) button.title = button.ariaLabel = 'Add files';
    // To Gradio each choice is a group of its own, and none has a name: no arrow key would lead from one to the next.
    for (const choice of document.querySelectorAll('#clip_frames input')) choice.name = 'clip_frames';
    for (const group of document.querySelectorAll('#clip_frames')) {
      group.role = 'radiogroup';
      group.ariaLabel = group.querySelector('[data-testid=block-info]').textContent;
    }
    // What is pressed in one of them is called as it is in the other.
    for (const box of document.querySelectorAll('#teach_real, #teach_fake')) {
      box.role = 'group';
      box.ariaLabel = box.querySelector('[data-testid=block-label]').textContent.trim();
    }
  };
  // By box, what it was sent and has no place for yet: a tab is made once it is opened, and a box takes nothing while it uploads.
  const waiting = {};
  let refused;
  const place = box => document.querySelector(`#${box} input[type=file]`);
  const hand = () => {
    const beside = refused && document.getElementById(refused.to);
    if (beside) {
      beside.before(Object.assign(document.createElement('p'), {id: 'refused', role: 'alert', textContent: refused.words}));
      refused = undefined;
    }
    for (const [box, {files}] of Object.entries(waiting)) {
      const to = place(box);
      // Nor does one that holds a clip, or where Gradio was asked to paste.
      if (!to && !most[box]) document.querySelector(`#${box} :is([title=Clear], [aria-label="Upload file"])`)?.click();
      if (!to) continue;
      delete waiting[box];
      to.files = files;
      to.dispatchEvent(new Event('change', {bubbles: true}));
    }
  };
  // On a phone a verdict stands below what was dropped, out of sight: it is shown once it is under way, and once it is there.
  const BESIDE = {picture: '#verdict .verdict', clip: '#clip_verdict .verdict'}, reached = {};
  const bringIntoSight = () => {
    for (const box in BESIDE) {
      const verdict = document.querySelector(BESIDE[box]), before = reached[box];
      if (verdict?.checkVisibility() === false) continue;  // it is shown once its tab is open again
      const {turn, held} = window.turns?.[box] ?? {};  // of what was taken away, which is held no more, it may stand for a moment yet
      reached[box] = held && verdict && `${turn} ${verdict.dataset.verdict}`;
      if (!reached[box] || reached[box] === before || innerWidth >= 768) continue;
      const behavior = matchMedia('(prefers-reduced-motion: reduce)').matches ? 'instant' : 'smooth';
      verdict.scrollIntoView({behavior, block: 'nearest'});
    }
  };
  const look = () => {
    name();
    bringIntoSight();
    // What was lost is told until there is a new answer, and not again when that is taken away.
    if (document.querySelector('[data-verdict]')) document.getElementById('lost')?.classList.add('answered');
    hand();
    // Gradio would have a press wait for what is sent by then, and forget it, or leave out the rest, where more is to follow.
    for (const button of document.querySelectorAll('#judge_many, #teach'))
      button.inert = button.closest('[role=tabpanel]').querySelector('.uploading') !== null;
  };
  new MutationObserver(look).observe(document.body, {childList: true, subtree: true, attributeFilter: ['aria-selected']});
  look();
  // Of a clip that only the detector can read Gradio would say "Error". Its own ears are on the player, so this hears first.
  for (const happened of ['error', 'loadeddata']) document.addEventListener(happened, event => {
    const player = event.target;
    if (!player.matches('#clip video')) return;
    if (happened === 'error') event.stopImmediatePropagation();
    player.parentElement.toggleAttribute('data-unplayable', !player.videoWidth);  // of some it plays the sound alone
  }, true);
  // A file goes to the box that takes its kind, and that box's tab is opened. One that is of neither kind stays where it is, and the verdict
  // says so: to Gradio all are of their box's kind, as it has words of its own for others, and browsers know few kinds. What is dropped
  // onto a box that teaches is meant for it.
  const KINDS = {picture: 'image/', clip: 'video/', many: '', teach_real: '', teach_fake: ''};
  const boxes = Object.keys(KINDS);
  const known = (box, name) => endings[box]?.some(ending => name.toLowerCase().endsWith(ending));
  const meant = ([{name, type}, another], here) => {
    if (!KINDS[here]) return here;
    if (another) return 'many';
    return boxes.find(box => KINDS[box] && type.startsWith(KINDS[box])) ?? boxes.find(box => known(box, name)) ?? here;
  };
  // In a narrow window Gradio has some tabs in a menu, where their titles alone tell them.
  const inMenu = title => [...document.querySelectorAll('.overflow-dropdown button')].find(tab => tab.textContent === title);
  const open = tab => (document.querySelector(`[data-tab-id=${tab}]`) ?? inMenu(titles[tab])).click();
  // What of them is sent, and what is said of the rest.
  const sift = (files, to) => {
    const count = files.length > most[to] + 1 ? files.length : `more than ${most[to]}`;  // no more of a folder are counted
    if (files.length > most[to])
      return [[], `There are ${count} files; at most ${most[to]} are taken at once, and none was sent. Choose fewer.`];
    const sent = [], large = [], inMB = bytes => Math.ceil(bytes / 2 ** 20);
    for (const file of files) (file.size > largest ? large : sent).push(file);
    const sizes = large.map(({name, size}) => `“${name}” has ${inMB(size)} MB`).join(', ');
    const rest = sent.length ? '. All others were sent' : ', and nothing was sent';
    return [sent, sizes && `${sizes}; at most ${inMB(largest)} are taken${rest}. Take a smaller copy.`];
  };
  const send = (files, to) => {
    const [sent, words] = sift(files, to);
    if (words) refused = {to, words};
    if (sent.length && !(most[to] && waiting[to])) waiting[to] = new DataTransfer();  // another picture is judged in place of the first
    for (const file of sent) waiting[to].items.add(file.type.startsWith(KINDS[to]) ? file : new File([file], file.name, {type: KINDS[to]}));
    if (titles[to]) open(to);
    hand();
  };
  // The files, and of folders, and of those in them, what is wanted and can be read; no more than it takes to be told that it is too much.
  const inside = async (entries, wanted, enough) => {
    const found = [];
    const search = async (entry, takes) => {
      if (entry.isFile) {
        if (takes(entry.name)) await new Promise(go => entry.file(file => go(found.push(file)), go));
        return;
      }
      const reader = entry.createReader();
      const more = () => new Promise(go => reader.readEntries(go, () => go([])));
      for (let entries; found.length < enough && (entries = await more()).length;)
        for (const one of entries) if (found.length < enough && !one.name.startsWith('.')) await search(one, wanted);
    };
    for (const entry of entries) await search(entry, () => true);
    return found.slice(0, enough);
  };
  // Of a folder without anything that the box takes, by the names, all is sent: of each file is told what it isn't.
  const unpack = async (entries, to) => {
    const takes = to === 'many' ? Object.keys(endings) : ['picture'];
    const files = await inside(entries, name => takes.some(box => known(box, name)), most[to] + 1);
    send(files.length ? files : await inside(entries, () => true, most[to] + 1), to);
  };
  // What is picked and fits Gradio takes itself. Of what is dropped it loses some: a picture onto another, or a file onto one in a list; and
  // for a file beside its box a browser would leave the page.
  const take = (event, {files, items}, beside) => {
    if (event.defaultPrevented || !files?.length) return;
    if (event.isTrusted) document.getElementById('refused')?.remove();  // not by what had to wait, and is handed on now
    const at = boxes.filter(box => beside ? document.getElementById(box)?.checkVisibility() : event.target.closest(`#${box}`));
    const here = at.length || !beside ? at.length < 2 && at[0] : 'picture';  // of two, which is meant?
    const entries = Array.from(items ?? [], item => item.webkitGetAsEntry()).filter(Boolean);
    const isFolder = entries.some(entry => entry.isDirectory);
    const to = here && meant(files, here);
    const isPicked = event.type === 'change' && to === here && !sift(files, to)[1];
    const fits = isPicked && [...files].every(file => file.type.startsWith(KINDS[here]));
    if (!beside && (!here || fits)) return;
    event.preventDefault();
    event.stopPropagation();
    // Or the box would stay lit, and the line in a list where files change places.
    if (!beside) for (const end of ['dragleave', 'dragend']) event.target.dispatchEvent(new DragEvent(end, {bubbles: true}));
    if (here && isFolder) unpack(entries, KINDS[to] ? 'many' : to);
    else if (here) send(files, to);
  };
  document.addEventListener('click', async event => {
    const example = event.target.closest('#examples button');
    if (!example) return;
    document.getElementById('refused')?.remove();
    const content = await (await fetch(example.firstChild.src)).blob();  // which lies in the page
    send([new File([content], `${example.title}.jpg`, {type: content.type})], 'picture');
  });
  // In a report that is kept it leads to the same words.
  document.addEventListener('click', event => {
    if (!event.target.closest('a[href="#bad_at"]')) return;
    event.preventDefault();
    open('model');
    document.querySelector('[data-tab-id=model]')?.focus();  // for who goes on by keys; in a menu there is none to go to
    document.querySelector('[role=tablist]').scrollIntoView();
  });
  // Gradio's would take a picture away that is there, and ask for another at the next press.
  document.addEventListener('click', event => {
    if (!event.isTrusted || !event.target.closest('#picture:has(.image-frame) [aria-label="Upload file"]')) return;
    event.stopPropagation();
    place('picture').value = '';  // or the same again would be no change
    place('picture').click();
  }, true);
  // By the keys that change tabs elsewhere; Gradio's are changed by Tab and Enter alone.
  document.addEventListener('keydown', event => {
    const tabs = [...document.querySelectorAll('[role=tablist] [role=tab]')], at = tabs.indexOf(event.target);
    const to = {ArrowLeft: at - 1, ArrowRight: (at + 1) % tabs.length, Home: 0, End: -1}[event.key];
    if (at < 0 || to === undefined || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    tabs.at(to).click();
    tabs.at(to).focus();
  });
  // Of files alone: a browser sets words down where they are dropped only if nobody else says that they may be. Of a picture of the page
  // itself it has a file out, too, which would be judged where somebody lets go of it.
  const own = 'application/x-own';
  document.addEventListener('dragstart', event => event.dataTransfer.setData(own, 'yes'));
  document.addEventListener('dragover', event => {
    const {types} = event.dataTransfer;
    if (!types.includes('Files') || types.includes(own)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';  // Gradio has files moved onto one in a list, as if that were to change places
  });
  document.addEventListener('change', event => take(event, event.target), true);  // before Gradio hears of it
  document.addEventListener('drop', event => take(event, event.dataTransfer), true);
  document.addEventListener('drop', event => take(event, event.dataTransfer, true));
  document.addEventListener('paste', event => {
    const words = event.target.closest('input, textarea') && event.clipboardData.types.includes('text/plain');
    if (!words) take(event, event.clipboardData, true);  // a word processor copies both
  });
}
