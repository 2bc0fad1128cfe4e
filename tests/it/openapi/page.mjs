// Opens the docs page in Chromium on a wide and on a narrow screen, tries an operation as a person would, and prints
// as JSON what the page showed, every address that it asked for, and whatever the browser complained of.
//
// Arguments: the URL of the page, a directory for the browser's profile, one for pictures. Chromium is spoken to
// over a pipe, in which a NUL ends each message (DevTools protocol).

import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';

const [url, profile, pictures] = process.argv.slice(2);
const chromium = spawn(
  'chromium',
  [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-extensions',
    '--disable-background-networking', '--disable-component-update', '--remote-debugging-pipe', '--hide-scrollbars',
    // Names lead nowhere: whatever else is asked for fails, and is seen.
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', `--user-data-dir=${profile}`, 'about:blank',
  ],
  { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
);
const ended = new Promise((resolve) => chromium.on('exit', resolve));

const asked = [];
const complaints = [];
const open = new Map();
let received = '';
chromium.stdio[4].setEncoding('utf8').on('data', (piece) => {
  const messages = (received + piece).split('\0');
  received = messages.pop();
  for (const message of messages) take(JSON.parse(message));
});

function take({ id, result, error, method, params }) {
  if (id !== undefined) {
    const { resolve, reject } = open.get(id);
    open.delete(id);
    return error ? reject(new Error(error.message)) : resolve(result);
  }
  if (method === 'Network.requestWillBeSent') asked.push(params.request.url);
  if (method === 'Runtime.exceptionThrown') complaints.push(params.exceptionDetails.exception?.description);
  if (method === 'Runtime.consoleAPICalled' && params.type === 'error') complaints.push(params.args);
  if (method === 'Log.entryAdded' && params.entry.level === 'error') complaints.push(params.entry.text);
  // Violations of the Content Security Policy are issues of their own.
  if (method === 'Audits.issueAdded' && params.issue.code === 'ContentSecurityPolicyIssue') complaints.push(params.issue);
}

let sent = 0;
function call(method, params = {}, sessionId = undefined) {
  const id = ++sent;
  chromium.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  return new Promise((resolve, reject) => open.set(id, { resolve, reject }));
}

// For what runs in the page: waits until there is such an element.
const FIND = `const find = async (selector) => {
  for (let tries = 0; tries < 1800; tries++) {
    const element = document.querySelector(selector);
    if (element) return element;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('never there: ' + selector);
};`;

const OPERATION = '#operations-LibraryService-LibraryService_GetBook';

const READ = `
  const reply = await find('${OPERATION} .live-responses-table .highlight-code code');
  document.querySelector('${OPERATION} .execute').scrollIntoView();
  return {
    title: document.querySelector('.info .title').firstChild.textContent,
    operations: document.querySelectorAll('.opblock').length,
    status: document.querySelector('${OPERATION} .live-responses-table .response .response-col_status').textContent,
    reply: reply.textContent,
    width: document.documentElement.scrollWidth,
  };`;

async function visit(name, metrics) {
  const { targetId } = await call('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await call('Target.attachToTarget', { targetId, flatten: true });
  const ask = (method, params) => call(method, params, sessionId);
  const run = async (body) => {
    const expression = `(async () => { ${FIND} ${body} })()`;
    const { result, exceptionDetails } = await ask('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception.description);
    return result.value;
  };
  const click = (selector) => run(`(await find('${OPERATION} ${selector}')).click();`);
  const type = async (parameter, text) => {
    const input = `(await find('${OPERATION} tr[data-param-name=${parameter}] input'))`;
    await run(`${input}.focus();`);
    await ask('Input.insertText', { text });
    // The page waits with what is typed until nobody goes on, or leaves.
    await run(`${input}.blur();`);
  };
  const shot = async (what) => {
    const { data } = await ask('Page.captureScreenshot', { format: 'png' });
    writeFileSync(`${pictures}/docs-${name}-${what}.png`, Buffer.from(data, 'base64'));
  };
  for (const domain of ['Network', 'Runtime', 'Log', 'Audits', 'Page']) await ask(`${domain}.enable`);
  await ask('Emulation.setFocusEmulationEnabled', { enabled: true });
  await ask('Emulation.setDeviceMetricsOverride', metrics);
  await ask('Page.navigate', { url });
  await run(`await find('.opblock');`);
  await shot('opened');
  await click('.opblock-summary-control');
  await type('shelvesId', '1');
  await type('booksId', '1');
  await click('.execute');
  const seen = await run(READ);
  await shot('tried');
  await call('Target.closeTarget', { targetId });
  return seen;
}

try {
  const wide = await visit('wide', { width: 1280, height: 900, deviceScaleFactor: 1, mobile: false });
  const narrow = await visit('narrow', { width: 390, height: 844, deviceScaleFactor: 2, mobile: true });
  console.log(JSON.stringify({ wide, narrow, asked, complaints }));
} finally {
  await call('Browser.close').catch(() => chromium.kill());
  await ended;
}
