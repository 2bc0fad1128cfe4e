// The explorer of a surface's GraphQL: runs operations, shows their results as they come, and the schema.
//
// Everything is asked of the page's own address; text is only ever put in as text. The document and its variables are
// kept for the tab, headers are not, because they may be credentials.
'use strict';

const RESULTS_MAX = 500;
const SCHEMA_ROWS_MAX = 200;
const ENDPOINT = location.pathname;

const INTROSPECTION = `{
  __schema {
    queryType { name } mutationType { name } subscriptionType { name }
    types {
      kind name description isOneOf
      fields(includeDeprecated: true) {
        name description isDeprecated deprecationReason
        args(includeDeprecated: true) { name description defaultValue type { ...T } }
        type { ...T }
      }
      inputFields(includeDeprecated: true) { name description defaultValue type { ...T } }
      enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
    }
  }
}
fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`;

const at = (id) => document.getElementById(id);
const make = (name, text, more = {}) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  return Object.assign(element, more);
};

// Requests.

let running = null;

/** The operations of a document: kind and name, found outside of brackets, texts and comments. */
function operationsOf(text) {
  const bare = text.replace(/"""[^]*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*/g, ' ');
  const operations = [];
  let depth = 0;
  for (const [token] of bare.matchAll(/[{}()]|[_A-Za-z][_0-9A-Za-z]*/g)) {
    const last = operations.at(-1);
    if (token === '{' && depth === 0 && !last?.isOpen && !operations.inFragment) {
      operations.push({ kind: 'query', name: '' });
    }
    if (token === '{' || token === '(') depth += 1;
    else if (token === '}' || token === ')') depth -= 1;
    else if (depth > 0) continue;
    else if (['query', 'mutation', 'subscription'].includes(token) && !last?.isOpen) {
      operations.push({ kind: token, name: '', isOpen: true });
    } else if (token === 'fragment' && !last?.isOpen) operations.inFragment = true;
    else if (last?.isOpen && last.name === '') last.name = token;
    if (token === '}' && depth === 0) {
      if (last) last.isOpen = false;
      operations.inFragment = false;
    }
  }
  return operations;
}

function showOperations() {
  const operations = operationsOf(at('document').value);
  const select = at('operation');
  const chosen = select.value;
  select.replaceChildren(...operations.map(({ kind, name }) => make('option', `${kind} ${name}`, { value: name })));
  if (operations.some(({ name }) => name === chosen)) select.value = chosen;
  select.parentElement.hidden = operations.length < 2;
  return operations;
}

/** What a field of JSON holds; throws where that is no object. */
function objectOf(id) {
  const field = at(id);
  const text = field.value.trim();
  field.removeAttribute('aria-invalid');
  if (text === '') return {};
  try {
    const value = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
    throw new Error('it must be an object');
  } catch (error) {
    field.setAttribute('aria-invalid', 'true');
    throw new Error(`${id}: ${error.message}`);
  }
}

async function ask(body, accept, headers, signal) {
  return fetch(ENDPOINT, {
    method: 'POST',
    headers: { ...headers, accept, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    credentials: 'same-origin',
    signal,
  });
}

async function run() {
  running?.abort();
  const control = new AbortController();
  const started = performance.now();
  const said = (text) => {
    if (running === control) at('status').textContent = text;
  };
  running = control;
  at('stop').disabled = false;
  at('results').replaceChildren();
  try {
    const query = at('document').value;
    const operations = showOperations();
    const operationName = operations.length > 1 ? at('operation').value : undefined;
    const operation = operations.find(({ name }) => name === operationName) ?? operations[0];
    const body = { query, operationName, variables: objectOf('variables') };
    const isStream = operation?.kind === 'subscription';
    const accept = isStream ? 'text/event-stream' : 'application/graphql-response+json, application/json;q=0.9';
    said('running');
    const response = await ask(body, accept, objectOf('headers'), control.signal);
    const type = response.headers.get('content-type') ?? '';
    if (type.startsWith('text/event-stream')) {
      await readEvents(response, said);
    } else {
      show(await response.text());
      said(`${response.status} in ${Math.round(performance.now() - started)} ms`);
    }
  } catch (error) {
    if (control.signal.aborted) said('stopped');
    else {
      said('failed');
      show(JSON.stringify({ error: error.message }));
    }
  }
  if (running === control) {
    running = null;
    at('stop').disabled = true;
  }
}

function stop() {
  running?.abort();
}

/** Shows each event as it comes, until the stream says that it is complete. */
async function readEvents(response, said) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let count = 0;
  said('waiting for the first result');
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      said(`the stream broke off after ${count} results`);
      return;
    }
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split('\n');
      const field = (name) => lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim();
      if (field('event') === 'next') {
        count += 1;
        show(field('data'));
        said(`${count} results so far`);
      } else if (field('event') === 'complete') {
        said(`complete, ${count} results`);
        return;
      }
    }
  }
}

/** Adds a result, and forgets the oldest of too many. */
function show(text) {
  let pretty = text;
  let isWrong = false;
  try {
    const value = JSON.parse(text);
    pretty = JSON.stringify(value, null, 2);
    isWrong = Boolean(value.errors ?? value.error);
  } catch {
    // It is shown as it is.
  }
  const item = make('li');
  item.className = isWrong ? 'wrong' : '';
  item.append(make('pre', pretty));
  const results = at('results');
  results.append(item);
  while (results.childElementCount > RESULTS_MAX) results.firstElementChild.remove();
  results.scrollTop = results.scrollHeight;
}

// The schema.

let types = new Map();
let roots = [];
let trail = [];

const shown = (type) => {
  if (type.kind === 'NON_NULL') return `${shown(type.ofType)}!`;
  return type.kind === 'LIST' ? `[${shown(type.ofType)}]` : type.name;
};
const innermost = (type) => (type.ofType ? innermost(type.ofType) : type.name);

async function loadSchema() {
  try {
    const response = await ask({ query: INTROSPECTION }, 'application/json', objectOf('headers'));
    const { data, errors } = await response.json();
    if (!data) throw new Error(errors?.[0]?.message ?? 'the schema cannot be read');
    types = new Map(data.__schema.types.map((type) => [type.name, type]));
    const { queryType, mutationType, subscriptionType } = data.__schema;
    roots = [queryType, mutationType, subscriptionType].filter(Boolean).map(({ name }) => name);
    open([]);
  } catch (error) {
    at('schema').replaceChildren(make('p', `No schema: ${error.message}`));
  }
}

function open(names) {
  trail = names;
  at('search').value = '';
  draw();
  at('schema').focus({ preventScroll: true });
}

function typeLink(name, text = name) {
  if (!types.has(name)) return make('code', text);
  const known = trail.indexOf(name);
  const to = known >= 0 ? trail.slice(0, known + 1) : [...trail, name];
  return make('button', text, { type: 'button', className: 'link', onclick: () => open(to) });
}

function row(member) {
  const item = make('li');
  const line = make('div', undefined, { className: 'signature' });
  const name = make('span', member.name);
  if (member.isDeprecated) name.className = 'deprecated';
  line.append(name);
  if (member.args?.length) {
    line.append('(');
    member.args.forEach((argument, index) => {
      line.append(index > 0 ? ', ' : '', `${argument.name}: `, typeLink(innermost(argument.type), shown(argument.type)));
    });
    line.append(')');
  }
  if (member.type) line.append(': ', typeLink(innermost(member.type), shown(member.type)));
  item.append(line);
  if (member.description) item.append(make('p', member.description));
  if (member.isDeprecated) item.append(make('p', `Deprecated: ${member.deprecationReason ?? ''}`));
  return item;
}

function rows(members) {
  const list = make('ul');
  list.append(...members.slice(0, SCHEMA_ROWS_MAX));
  if (members.length > SCHEMA_ROWS_MAX) {
    list.append(make('li', `and ${members.length - SCHEMA_ROWS_MAX} more: find them by name`));
  }
  return list;
}

/** Draws what is opened, or what is looked for. */
function draw() {
  const start = make('button', 'Schema', { type: 'button', className: 'link', onclick: () => open([]) });
  at('trail').replaceChildren(...(trail.length ? [start, ...trail.map((name) => typeLink(name))] : []));
  const wanted = at('search').value.trim().toLowerCase();
  const type = types.get(trail.at(-1));
  const parts = [];
  if (wanted) {
    const found = [...types.values()].filter(({ name }) => name.toLowerCase().includes(wanted)).map(({ name }) => {
      const item = make('li');
      item.append(typeLink(name));
      return item;
    });
    const fields = roots.flatMap((root) => types.get(root)?.fields ?? []);
    const named = fields.filter(({ name }) => name.toLowerCase().includes(wanted)).map(row);
    parts.push(rows([...named, ...found]));
  } else if (type) {
    parts.push(make('h3', type.name));
    if (type.description) parts.push(make('p', type.description));
    if (type.isOneOf) parts.push(make('p', 'Exactly one of its fields must be given.'));
    parts.push(rows([...(type.fields ?? []), ...(type.inputFields ?? []), ...(type.enumValues ?? [])].map(row)));
  } else {
    for (const root of roots) parts.push(make('h3', root), rows((types.get(root)?.fields ?? []).map(row)));
  }
  at('schema').replaceChildren(...parts);
}

// The page.

function keep() {
  sessionStorage.setItem('document', at('document').value);
  sessionStorage.setItem('variables', at('variables').value);
}

const linked = new URLSearchParams(location.search);
at('document').value = linked.get('query') ?? sessionStorage.getItem('document') ?? '{\n  __typename\n}\n';
at('variables').value = linked.get('variables') ?? sessionStorage.getItem('variables') ?? '';
at('run').addEventListener('click', run);
at('stop').addEventListener('click', stop);
at('search').addEventListener('input', draw);
at('headers').addEventListener('change', loadSchema);
at('document').addEventListener('input', showOperations);
document.addEventListener('input', keep);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  } else if (event.key === 'Escape' && running) stop();
});
showOperations();
loadSchema();
