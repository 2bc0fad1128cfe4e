// graphql-js, the reference implementation, as the oracle of tests: reads JSON from standard input and answers each
// `{ sdl, documents }` with what is wrong with the schema and with each document, as lists of messages.
//
// Arguments: the directory that has `node_modules`.

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const entry = pathToFileURL(`${process.argv[2]}/node_modules/graphql/index.js`);
const { buildSchema, parse, validate, validateSchema } = (await import(entry)).default;

function told(check) {
  try {
    return check().map((error) => error.message);
  } catch (error) {
    return [error.message];
  }
}

const answers = JSON.parse(readFileSync(0, 'utf8')).map(({ sdl, documents }) => {
  let schema;
  const problems = told(() => {
    schema = buildSchema(sdl);
    return validateSchema(schema);
  });
  const verdicts = documents.map((text) => told(() => validate(schema, parse(text))));
  return { problems, verdicts };
});
console.log(JSON.stringify(answers));
