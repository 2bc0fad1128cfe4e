//! What is accepted at load, what is refused, where and in which words.

use super::super::{Condition, NoCaptures, RequestTypes, Variable};
use super::{cases, compile};

const CASES: &str = include_str!("../../../../tests/cases/conditions-checked.txt");

#[test]
fn expressions_are_checked() {
    let mut wrong = String::new();
    let mut count = 0;
    for (text, expected) in cases(CASES) {
        let found = match compile::<bool>(text) {
            Ok(_) => vec!["ok".to_owned()],
            Err(errors) => {
                errors.iter().map(|error| format!("{}: {}", error.offset, error.problem)).collect()
            }
        };
        if found != expected {
            wrong += &format!("{text}\n=> {}\n\n", found.join("\n=> "));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "found otherwise:\n\n{wrong}");
    assert!(count >= 200, "{count}");
}

#[test]
fn every_bound_is_one_past_which_nothing_is_accepted() {
    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let found = compile::<bool>(text).err().map(|errors| errors[0].to_string());
        assert_eq!(found.as_deref(), expected, "{} bytes", text.len());
    }
    let padded = |length: usize| format!("{}true", " ".repeat(length - 4));
    check(&padded(4096), None);
    check(&padded(4097), Some("4097 bytes are more than the 4096 allowed"));

    let too_deep = Some("nested deeper than the 32 levels allowed");
    let parens = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    check(&parens(31), None);
    check(&parens(32), too_deep);
    check(&parens(2000), too_deep);
    let sum = |count: usize| format!("{}1 == 1", "claims.n + ".repeat(count));
    check(&sum(29), None);
    check(&sum(31), too_deep);
    for open in ["[", "{1:", "size(", "!(", "-(", "a?b:", "a.b(", "a[", "a&&(", "1+("] {
        check(&open.repeat(500), too_deep);
    }
    check(&format!("{}true", "!".repeat(4000)), None);

    let many = |count: usize| vec!["claims.a"; count].join(" || ");
    check(&many(255), None);
    check(&many(256), Some("more than the 512 parts allowed"));

    let nested = |pattern: &str| format!("request.path.matches(\"{pattern}\")");
    check(&nested(&format!("{}a{}", "(".repeat(31), ")".repeat(31))), None);
    check(
        &nested(&format!("{}a{}", "(".repeat(33), ")".repeat(33))),
        Some("the pattern is refused: exceed the maximum number of nested parentheses/brackets (32)"),
    );
}

#[test]
fn a_count_is_a_whole_number() {
    let check = |text: &str, expected: Option<&str>| {
        let found = compile::<u64>(text).err().map(|errors| errors[0].to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
    };
    check("1", None);
    check("2u", None);
    check("claims.cost", None);
    check("size(claims.items) * 2", None);
    check("request.method == \"GET\" ? 1 : 5", None);
    check("true", Some("expected a whole number as the outcome, found bool"));
    check("1.5", Some("expected a whole number as the outcome, found double"));
    check("\"1\"", Some("expected a whole number as the outcome, found string"));
}

#[test]
fn geo_is_known_where_it_is_configured() {
    let types = RequestTypes { has_country: false, has_asn: false, captures: &NoCaptures };
    let check = |text: &str, expected: &str| {
        let errors = Condition::compile(text, &types).expect_err(text);
        assert_eq!(errors[0].to_string(), expected);
    };
    check("request.country == \"DE\"", "`request.country` needs `geo.file`");
    check("has(request.asn)", "`request.asn` needs `geo.asn_file`");
    check("request.message.a == 1", "no path is known here, and so no field that one captures");
}

#[test]
fn an_expression_knows_what_it_mentions() {
    let check = |text: &str, identity: Option<&str>, time: bool| {
        let condition = compile::<bool>(text).expect(text);
        assert_eq!(condition.identity_variable(), identity, "{text}");
        assert_eq!(condition.mentions(Variable::Time), time, "{text}");
    };
    check("true", None, false);
    check("request.method == \"GET\"", None, false);
    check("claims.a", Some("claims"), false);
    check("\"a\" in claims.scope", Some("claims.scope"), false);
    check("has(consumer.plan) || request.time.getHours() > 1", Some("consumer.plan"), true);
    check("[1].exists(i, identity.subject == \"a\")", Some("identity.subject"), false);
}

#[test]
fn the_page_has_every_variable_and_every_function() {
    use super::super::vocabulary::{FUNCTIONS, SPECIAL};
    const PAGE: &str = include_str!("../../../../docs/conditions.md");
    let first_cells = |heading: &str| {
        let section = PAGE.split(heading).nth(1).expect(heading).split("\n## ").next().unwrap_or_default();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        cells.collect::<Vec<_>>().join(", `")
    };
    let names = |cells: &str| -> Vec<String> {
        let names = cells.split("`").filter(|name| name.contains(|c: char| c.is_alphabetic()));
        names.map(|name| name.split('(').next().unwrap_or_default().to_owned()).collect()
    };
    let mut documented = names(&first_cells("## Variables"));
    let mut known: Vec<_> = Variable::ALL.iter().map(|variable| variable.name().to_owned()).collect();
    known.push("request.message".to_owned());
    documented.sort();
    known.sort();
    assert_eq!(documented, known);

    let functions = names(&first_cells("## Functions"));
    let mut documented: Vec<_> =
        functions.iter().map(|name| name.split('.').next_back().unwrap_or_default()).collect();
    let mut known: Vec<_> = FUNCTIONS.iter().map(|function| function.name).collect();
    known.extend(SPECIAL.iter().map(|(name, _)| *name));
    documented.sort_unstable();
    documented.dedup();
    known.sort_unstable();
    assert_eq!(documented, known);
}
