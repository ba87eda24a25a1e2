// Has every answer heard that was asked for. Gradio's server ends the stream of answers where none is due, and its client then listens to no
// more, not even for what it asked for before that end reached it. So the stream goes on here, as another, for as long as answers are due.
// Where the connection is lost, Gradio loads the page again without a word. That it was lost is written down here, with the tab that was
// open, for the page to say then, and to open that.
() => {
  const ask = window.fetch;
  // An answer may come before the reply to its question, which tells its number.
  const due = new Set(), early = new Set();
  const asked = id => early.delete(id) || due.add(id);
  const answered = id => due.delete(id) || early.add(id);
  // Not of who leaves, which ends all requests, too: by then that page is gone, and Gradio's next look for its server is yet to come.
  const noteLoss = why => why.name !== 'AbortError' && setTimeout(() => {
    try {
      sessionStorage.setItem('lost', document.querySelector('[role=tab][aria-selected=true]').dataset.tabId);
    } catch {}  // a browser that stores nothing
  }, 1000);

  // Resolves to whether it is to go on: all but such an end is passed on.
  const pass = async (reply, to) => {
    if (!reply.ok) throw new Error(`Expected more answers; received status ${reply.status}.`);
    let rest = '', goesOn = false;
    const transform = (text, out) => {
      const lines = (rest + text).split('\n\n');
      rest = lines.pop();
      for (const line of lines) {
        const {msg, event_id} = JSON.parse(line.replace('data:', ''));
        if (msg === 'process_completed') answered(event_id);
        goesOn = msg === 'close_stream' && due.size > 0;
        if (!goesOn) out.enqueue(`${line}\n\n`);
      }
    };
    await reply.body.pipeThrough(new TextDecoderStream()).pipeThrough(new TransformStream({transform})).pipeTo(to, {preventClose: true});
    return goesOn;
  };

  window.fetch = async (what, how) => {
    const place = new URL(what.url ?? what, location).pathname;
    const reply = await ask(what, how).catch(why => {
      if (/\/(queue\/(join|data)|run\/predict)$/.test(place)) noteLoss(why);
      // To this Gradio puts "Connection errored out.", and says it for some seconds.
      throw place.endsWith('/upload') ? new Error('Nothing of what was being sent has arrived. Drop it again.') : why;
    });
    if (reply.ok && place.endsWith('/queue/join')) asked((await reply.clone().json()).event_id);
    if (!reply.ok || !place.endsWith('/queue/data')) return reply;
    const {readable, writable} = new TextEncoderStream();
    const passAll = async () => {
      for (let more = reply; await pass(more, writable);) more = await ask(what, how);
      await writable.close();
    };
    passAll().catch(why => {
      noteLoss(why);
      return writable.abort(why);
    }).catch(() => {});  // who listens is told, if anybody does
    return new Response(readable, reply);
  };
}
