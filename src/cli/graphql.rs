//! `transom graphql`: the GraphQL schema that a surface's methods make.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;

use super::flags::SourceFlags;
use super::{Failure, build, print, tell};
use crate::graphql::model::{LeftOut, Mapping, Model, left_out};
use crate::graphql::sdl::Sdl;
use crate::snapshot::{Snapshot, Surface};

/// Print the GraphQL schema of a surface, or which methods are not in it
#[derive(Args)]
pub(super) struct Graphql {
    #[command(flatten)]
    flags: SourceFlags,
    /// The surface, where there are several
    #[arg(long, value_name = "NAME")]
    surface: Option<String>,
    /// List the methods that are not in the schema, and why
    #[arg(long)]
    why: bool,
}

impl Graphql {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let gateway = build(&self.flags.config()?)?;
        for warning in gateway.warnings() {
            tell(warning);
        }
        let snapshot = gateway.snapshot();
        let surface = chosen(&snapshot, self.surface.as_deref())?;
        if self.why {
            print(listing(&left_out(&snapshot.schema, &surface.methods)).trim_end());
        } else {
            let schema = &snapshot.schema;
            // A surface that serves it has said how; of any other it is what it would be.
            let sdl = match &surface.graphql {
                Some(graphql) => Sdl { model: &graphql.model, schema }.to_string(),
                None => Sdl { model: &derived(&snapshot, surface), schema }.to_string(),
            };
            print(sdl.trim_end());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The model of a surface of which the file does not say how it is served.
fn derived(snapshot: &Snapshot, surface: &Surface) -> Model {
    let schema = &snapshot.schema;
    let mut model = Model::new(schema, &surface.methods, &surface.routes, Mapping::default());
    if let Err(errors) = model.link_options(schema) {
        errors.iter().for_each(tell);
    }
    model
}

fn chosen<'s>(snapshot: &'s Snapshot, name: Option<&str>) -> Result<&'s Surface, Failure> {
    let surfaces = snapshot.surfaces.all();
    let names = || surfaces.iter().map(|one| format!("`{}`", one.name)).collect::<Vec<_>>().join(", ");
    match (name, surfaces) {
        (Some(name), _) => surfaces
            .iter()
            .find(|one| *one.name == *name)
            .ok_or_else(|| Failure::Unknown(format!("no surface `{name}`, expected one of {}", names()))),
        (None, [one]) => Ok(one),
        (None, _) => Err(Failure::Usage(format!("several surfaces: name one of {} with --surface", names()))),
    }
}

/// One line a method.
fn listing(left_out: &[LeftOut]) -> String {
    let width = left_out.iter().map(|one| one.method.len()).max().unwrap_or(0);
    let mut text = String::new();
    for LeftOut { method, why } in left_out {
        writeln!(text, "{method:width$}  {why}").expect("a string takes it all");
    }
    if text.is_empty() { "every method is in the schema".to_owned() } else { text }
}
