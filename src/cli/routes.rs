//! `transom routes`: the route table, as `serve` would have it.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;

use super::flags::SourceFlags;
use super::{Failure, build, print, tell};
use crate::route::list::{Row, rows};
use crate::snapshot::{Destination, Snapshot, Surface};

/// List the routes: method, path, body, rpc
#[derive(Args)]
pub(super) struct Routes {
    #[command(flatten)]
    flags: SourceFlags,
}

impl Routes {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let gateway = build(&self.flags.config()?)?;
        for warning in gateway.warnings() {
            tell(warning);
        }
        let snapshot = gateway.snapshot();
        print(listing(&snapshot).trim_end());
        Ok(ExitCode::SUCCESS)
    }
}

/// One table a surface; the name only stands where there are several.
fn listing(snapshot: &Snapshot) -> String {
    let surfaces = snapshot.surfaces.all();
    let tables = surfaces.iter().map(|surface| {
        let mut rows = rows(&snapshot.schema, &surface.routes);
        rows.extend(aggregates(snapshot, surface));
        rows.sort_unstable();
        let table = table(&rows, |rule| sides(snapshot, rule));
        if surfaces.len() == 1 { table } else { format!("{}\n{table}", surface.name) }
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// The routes of documents, each with the methods that it calls.
fn aggregates<'s>(snapshot: &'s Snapshot, surface: &'s Surface) -> impl Iterator<Item = Row> + use<'s> {
    let graphql = surface.graphql.as_ref();
    let routes = graphql.into_iter().flat_map(|graphql| {
        surface
            .routes
            .aggregates()
            .filter_map(move |one| Some((graphql, one, graphql.routes.get(one.place)?)))
    });
    routes.map(|(graphql, aggregate, document)| {
        let methods = graphql.called(&snapshot.schema, document);
        Row {
            path: (*aggregate.template).into(),
            verb: (*aggregate.verb).into(),
            body: if document.takes_body() { "*".to_owned() } else { String::new() },
            rpc: format!("{} by {}", methods.join(", "), document.title()),
            client_streaming: false,
            server_streaming: false,
            rule: None,
        }
    })
}

/// The services that the calls of a rule go to, with their weights; nothing where there is one.
fn sides(snapshot: &Snapshot, rule: u32) -> String {
    let rule = usize::try_from(rule).ok().and_then(|rule| snapshot.rules.get(rule));
    let Some(rule) = rule.filter(|rule| rule.destinations.all().len() > 1) else { return String::new() };
    let shares = rule.split.as_ref().map_or(&[][..], |split| split.sides());
    let side = |one: &Destination| {
        let share = shares.iter().find(|share| share.service == one.service);
        share.map_or_else(|| one.name.to_string(), |share| format!("{} ({})", one.name, share.weight))
    };
    let sides: Vec<_> = rule.destinations.all().iter().map(side).collect();
    format!(" -> {}", sides.join(", "))
}

/// Columns as wide as their widest entry; a side that streams is marked.
fn table(rows: &[Row], sides: impl Fn(u32) -> String) -> String {
    let body = |row: &Row| if row.body.is_empty() { "-".to_owned() } else { row.body.clone() };
    let lines: Vec<[String; 3]> =
        rows.iter().map(|row| [row.verb.clone(), row.path.clone(), body(row)]).collect();
    let head = ["METHOD", "PATH", "BODY"].map(str::to_owned);
    let width = |column: usize| {
        std::iter::once(&head).chain(&lines).map(|line| line[column].chars().count()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    let mut put = |[verb, path, body]: &[String; 3], rpc: &str| {
        let [first, second, third] = widths;
        writeln!(text, "{verb:first$}  {path:second$}  {body:third$}  {rpc}").expect("a string takes it all");
    };
    put(&head, "RPC");
    for (line, row) in lines.iter().zip(rows) {
        put(line, &format!("{}{}", rpc(row), row.rule.map(&sides).unwrap_or_default()));
    }
    text
}

/// `package.Service.Method`, and which sides stream.
fn rpc(row: &Row) -> String {
    let mark = match (row.client_streaming, row.server_streaming) {
        (false, false) => "",
        (false, true) => " (server stream)",
        (true, false) => " (client stream)",
        (true, true) => " (both stream)",
    };
    format!("{}{mark}", row.rpc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_entry() {
        let row = |verb: &str, path: &str, body: &str, server_streaming| Row {
            path: path.to_owned(),
            verb: verb.to_owned(),
            body: body.to_owned(),
            rpc: "p.S.M".to_owned(),
            client_streaming: false,
            server_streaming,
            rule: Some(u32::from(server_streaming)),
        };
        let rows = [row("GET", "/v1/{name=a/*}", "", true), row("PATCH", "/v1/b", "book", false)];
        let expected = "\
METHOD  PATH            BODY  RPC
GET     /v1/{name=a/*}  -     p.S.M (server stream) -> a (95), b (5)
PATCH   /v1/b           book  p.S.M
";
        assert_eq!(
            table(&rows, |rule| if rule == 1 { " -> a (95), b (5)".to_owned() } else { String::new() }),
            expected
        );
    }
}
