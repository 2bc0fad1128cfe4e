// graphql-js, the reference implementation, as the oracle of tests: reads JSON from standard input and answers each
// `{ sdl, documents, introspection }`: what is wrong with the schema and with each document, as lists of messages; its
// own query of introspection; and, where an answer to that query came along, the schema that clients make of it beside
// the one of the SDL, both printed.
//
// Arguments: the directory that has `node_modules`.

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const entry = pathToFileURL(`${process.argv[2]}/node_modules/graphql/index.js`);
const graphql = (await import(entry)).default;

function told(check) {
  try {
    return check().map((error) => error.message);
  } catch (error) {
    return [error.message];
  }
}

const print = (schema) => graphql.printSchema(graphql.lexicographicSortSchema(schema));

const answers = JSON.parse(readFileSync(0, 'utf8')).map(({ sdl, documents, introspection }) => {
  let schema;
  const problems = told(() => {
    schema = graphql.buildSchema(sdl);
    return graphql.validateSchema(schema);
  });
  const verdicts = documents.map((text) => told(() => graphql.validate(schema, graphql.parse(text))));
  const query = graphql.getIntrospectionQuery({
    directiveIsRepeatable: true,
    inputValueDeprecation: true,
    oneOf: true,
    schemaDescription: true,
    specifiedByUrl: true,
  });
  const printed = introspection && [print(graphql.buildClientSchema(introspection)), print(schema)];
  return { problems, verdicts, query, printed };
});
console.log(JSON.stringify(answers));
