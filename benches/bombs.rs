//! How long a bomb takes to be refused: from the body of its request to the error, in microseconds.
//!
//! ```text
//! cargo bench --bench bombs                         each of them: the median and the longest of its rounds
//! cargo bench --bench bombs -- --only NAME COUNT    one, so many times: for callgrind to count its instructions
//! ```
//!
//! Fails where the median of one is more than [`MICROS_MAX`]. Reading the body from its socket is not in it.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use transom::codec::options::JsonOptions;
use transom::frontend::graphql::Parameters;
use transom::graphql::coerce::Coercer;
use transom::graphql::document::{Bounds, Document, Problem};
use transom::graphql::introspect::BYTES_MAX;
use transom::graphql::model::{Mapping, Model};
use transom::graphql::plan::Planner;
use transom::route::{Exposed, Rules, Shown, build_shown};
use transom::schema::{Input, Schema, load};

#[path = "../tests/it/support/bombs.rs"]
mod bombs;

use bombs::{Bomb, bombs};

/// What a bomb may take to be refused.
const MICROS_MAX: u128 = 5000;
const ROUNDS: usize = 51;

/// The gateway's defaults.
const BODY_BYTES_MAX: usize = (64 << 10) + (1 << 20) + (16 << 10);
const VALUES_MAX: usize = 25_000;

fn main() -> ExitCode {
    let library = Library::new();
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    let bombs = bombs();
    if let [_, _, name, count] = arguments.as_slice() {
        let bomb = bombs.iter().find(|bomb| bomb.name == name).expect("the name of a bomb");
        for _ in 0..count.parse().expect("a number") {
            library.refuse(bomb);
        }
        return ExitCode::SUCCESS;
    }
    let mut out = std::io::stdout().lock();
    let mut longest = 0;
    for bomb in &bombs {
        let mut rounds: Vec<u128> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                library.refuse(bomb);
                start.elapsed().as_micros()
            })
            .collect();
        rounds.sort_unstable();
        let (median, last) = (rounds[ROUNDS / 2], rounds[ROUNDS - 1]);
        longest = longest.max(median);
        writeln!(out, "{median:>6} µs, at most {last:>6} µs  {} ({})", bomb.name, bomb.code)
            .expect("somebody reads");
    }
    writeln!(out, "the longest takes {longest} µs, {MICROS_MAX} are allowed").expect("somebody reads");
    ExitCode::from(u8::from(longest > MICROS_MAX))
}

struct Library {
    schema: Schema,
    model: Model,
}

impl Library {
    fn new() -> Self {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
        let mut compiler = protox::Compiler::new([data, root]).expect("the folders exist");
        compiler.include_imports(true).open_file("books.proto").expect("it compiles");
        let bytes = compiler.encode_file_descriptor_set().into();
        let schema = load(&[Input { name: "library".into(), bytes }]).expect("the set is valid");
        let mut exposed = Vec::new();
        let (routes, _) = build_shown(&schema, &Rules::default(), &[], |method| {
            exposed.push(Exposed { method: method.clone(), shown: Shown::default() });
            Some(Shown::default())
        })
        .expect("good rules");
        let model = Model::new(&schema, &exposed, &routes, Mapping::default());
        Self { schema, model }
    }

    /// Does what the gateway does with the body of a request, and sees that it is refused as it should be.
    fn refuse(&self, bomb: &Bomb) {
        let code = self.code(bomb.body.as_bytes());
        assert_eq!(code.as_deref(), Some(bomb.code), "{}", bomb.name);
    }

    fn code(&self, body: &[u8]) -> Option<String> {
        if body.len() > BODY_BYTES_MAX {
            return Some("BODY_TOO_LARGE".to_owned());
        }
        let parameters = match Parameters::of_body(body, VALUES_MAX) {
            Ok(parameters) => parameters,
            Err(status) => return status.reason().map(str::to_owned),
        };
        self.plan(&parameters).err().map(|problems| problems[0].code.name().to_owned())
    }

    fn plan(&self, parameters: &Parameters) -> Result<(), Vec<Problem>> {
        let Self { schema, model } = self;
        let text = parameters.query.as_deref().unwrap_or_default();
        let document = Document::read(text, model, schema, &Bounds::default())?;
        let definition = document.operation(None).map_err(|problem| vec![problem])?;
        let variables = Coercer { model, schema }.variables(definition, &parameters.variables)?;
        let planner = Planner {
            model,
            schema,
            options: &JsonOptions::default(),
            cost_max: Bounds::default().cost_max,
            introspection_bytes_max: BYTES_MAX,
            read_masks: true,
        };
        planner.plan(&document, definition, &variables).map(drop).map_err(|problem| vec![problem])
    }
}
