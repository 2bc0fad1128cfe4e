//! Which route a verb and a path lead to, what is captured, and what is refused on the way.
//! Every table is tried in both orders of declaration; a linear search is the oracle of the tree.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::{listed, rules, tree, try_build, usual};
use crate::route::template::{PathTemplate, Segment};
use crate::route::{
    AggregateError, AggregateRule, Captures, Conflicts, Match, RouteError, RouteTree, Rules, Shown,
    build_shown,
};

/// `method verb template` of the route, then its captures; or why there is none.
fn found(tree: &RouteTree, verb: &str, path: &str) -> String {
    match tree.find(verb, path) {
        Match::Found { binding, captures } => {
            with_captures(binding.method.trim_start_matches("t.S."), &captures)
        }
        Match::Aggregate { aggregate, captures } => {
            with_captures(&format!("#{}", aggregate.place), &captures)
        }
        Match::MethodNotAllowed { allow } => format!("405 {allow}"),
        Match::NotFound => "404".into(),
        Match::BadPath(reason) => format!("400 {reason}"),
    }
}

fn with_captures(what: &str, captures: &Captures) -> String {
    captures.iter().fold(what.to_owned(), |mut shown, capture| {
        write!(shown, " [{capture}]").expect("a string takes all");
        shown
    })
}

/// Every case in both orders of declaration.
fn check(rules: &[&str], cases: &[(&str, &str)]) {
    let mut reversed = rules.to_vec();
    reversed.reverse();
    for rules in [rules, &reversed] {
        let tree = tree(rules);
        for (request, expected) in cases {
            let (verb, path) = request.split_once(' ').expect("verb and path");
            assert_eq!(found(&tree, verb, path), *expected, "{request} in {rules:?}");
        }
    }
}

/// Routes of methods, and aggregates of `VERB template`.
fn with_aggregates(methods: &Rules, places: &[&str]) -> Result<RouteTree, Vec<RouteError>> {
    let rule = |place: &&str| {
        let (verb, template) = place.split_once(' ').expect("verb and template");
        AggregateRule { verb: verb.to_owned(), template: template.to_owned() }
    };
    let aggregates: Vec<_> = places.iter().map(rule).collect();
    build_shown(usual(), methods, &aggregates, |_| Some(Shown::default())).map(|(tree, _)| tree)
}

#[test]
fn aggregates_stand_beside_methods() {
    let methods = rules(&["A GET /a/{name}", "B POST /a/b", "C GET /x/{name=**}"]);
    let aggregates = ["GET /a/b", "GET /{who}/b/{what=c/*}", "PUT /a/{name}:go"];
    let tree = with_aggregates(&methods, &aggregates).expect("no conflict");
    for (request, expected) in [
        ("GET /a/b", "#0"),
        ("HEAD /a/b", "#0"),
        ("POST /a/b", "B"),
        ("GET /a/c", "A [c]"),
        ("GET /z%2Fz/b/c/d%2Fd", "#1 [z/z] [c/d%2Fd]"),
        ("PUT /a/q:go", "#2 [q]"),
        ("GET /x/b/c/d", "C [b/c/d]"),
        ("DELETE /a/b", "405 GET, HEAD, POST"),
        ("DELETE /y/b/c/d", "405 GET, HEAD"),
    ] {
        let (verb, path) = request.split_once(' ').expect("verb and path");
        assert_eq!(found(&tree, verb, path), expected, "{request}");
    }
    let aggregate = tree.aggregates().nth(1).expect("the second");
    assert_eq!(aggregate.captured().collect::<Vec<_>>(), ["who", "what"]);
    let Match::Aggregate { captures, .. } = tree.find("GET", "/1/b/c/2") else { panic!("it is there") };
    assert_eq!(aggregate.text("what", &captures), Some("c/2"));
    assert_eq!(aggregate.text("else", &captures), None);
}

#[test]
fn aggregates_are_refused_where_something_stands() {
    // Whoever lets the first of two methods stay means the methods.
    for conflicts in [Conflicts::Refuse, Conflicts::First] {
        let methods = Rules { conflicts, ..rules(&["A GET /a/{name}"]) };
        let errors =
            with_aggregates(&methods, &["GET /b", "GET /a/{other}", "POST /a/{other}", "GET /b", "GET b"]);
        let errors = errors.expect_err("three of them");
        assert_eq!(
            listed(&errors),
            "`GET /a/{other}` takes the same requests as `t.S.A` (`GET /a/{name}`)\n\
             `GET /b` takes the same requests as the route at place 0\n\
             `GET b` is no template: column 1: expected `/`, found `b`\n"
        );
        let place = |error: &RouteError| match error {
            RouteError::Aggregate { place, error, .. } => {
                (*place, matches!(error, AggregateError::Aggregate(0)))
            }
            other => panic!("{other}"),
        };
        assert_eq!(errors.iter().map(place).collect::<Vec<_>>(), [(1, false), (3, true), (4, false)]);
    }
}

#[test]
fn segments_match_as_declared() {
    check(
        &[
            "A GET /",
            "B GET /a",
            "C GET /a/{name}",
            "D GET /a/{name}/b",
            "E GET /{name=x/*/y/*}",
            "F GET /z/**",
        ],
        &[
            ("GET /", "A"),
            ("GET /a", "B"),
            ("GET /a/b", "C [b]"),
            ("GET /a/1/b", "D [1]"),
            ("GET /a/1/c", "404"),
            ("GET /a/1/b/2", "404"),
            ("GET /x/1/y/2", "E [x/1/y/2]"),
            ("GET /x/1/z/2", "404"),
            ("GET /z", "F"),
            ("GET /z/1", "F"),
            ("GET /z/1/2/3", "F"),
            ("GET /b", "404"),
            ("GET /A", "404"),
            ("GET a", "404"),
            ("GET *", "404"),
            ("GET ", "404"),
        ],
    );
}

#[test]
fn an_empty_segment_never_matches() {
    check(
        &["A GET /", "B GET /a", "C GET /a/{name}", "D GET /b/{name=**}", "E GET /a/*/c"],
        &[
            ("GET //", "404"),
            ("GET /a/", "404"),
            ("GET //a", "404"),
            ("GET /a//", "404"),
            ("GET /a//c", "404"),
            ("GET /b/", "404"),
            ("GET /b/x/", "404"),
            ("GET /b//x", "404"),
            ("GET /b", "D []"),
        ],
    );
}

#[test]
fn a_literal_beats_a_star_beats_two_stars() {
    check(
        &["A GET /a/b", "B GET /a/{name}", "C GET /a/{name=**}", "D GET /{name}/b", "E GET /{name=**}"],
        &[
            ("GET /a/b", "A"),
            ("GET /a/c", "B [c]"),
            ("GET /a/c/d", "C [c/d]"),
            ("GET /a", "C []"),
            ("GET /x/b", "D [x]"),
            ("GET /x/c", "E [x/c]"),
            ("GET /", "E []"),
        ],
    );
}

#[test]
fn a_branch_without_the_route_is_left_again() {
    check(
        &[
            "A GET /a/b/c",
            "B GET /a/{name}/d",
            "C GET /{name}/b/e",
            "D GET /{name=**}/f",
            "E GET /a/b/{name=g/*}",
        ],
        &[
            ("GET /a/b/c", "A"),
            ("GET /a/b/d", "B [b]"),
            ("GET /a/b/e", "C [a]"),
            ("GET /a/b/f", "D [a/b]"),
            ("GET /a/b/g/f", "E [g/f]"),
            ("GET /a/b/h/f", "D [a/b/h]"),
            ("GET /a/b/h", "404"),
        ],
    );
}

#[test]
fn the_verb_decides_among_branches() {
    check(
        &["A GET /a/lit", "B POST /a/{name}", "C PUT /{name=**}", "D * /a/any", "E GET /a/any"],
        &[
            ("GET /a/lit", "A"),
            ("POST /a/lit", "B [lit]"),
            ("PUT /a/lit", "C [a/lit]"),
            ("DELETE /a/lit", "405 GET, HEAD, POST, PUT"),
            ("GET /a/x", "405 POST, PUT"),
            ("OPTIONS /a/x", "405 POST, PUT"),
            ("GET /q", "405 PUT"),
            ("GET /a/any", "E"),
            ("HEAD /a/any", "E"),
            ("POST /a/any", "D"),
            ("FOO /a/any", "D"),
            ("get /a/lit", "405 GET, HEAD, POST, PUT"),
        ],
    );
}

#[test]
fn head_is_get_unless_it_has_a_route() {
    check(
        &["A GET /a", "B GET /b", "C HEAD /b", "D POST /c", "E * /d"],
        &[
            ("HEAD /a", "A"),
            ("HEAD /b", "C"),
            ("GET /b", "B"),
            ("HEAD /c", "405 POST"),
            ("HEAD /d", "E"),
            ("* /a", "405 GET, HEAD"),
        ],
    );
}

#[test]
fn segments_after_two_stars_are_counted_from_the_end() {
    check(
        &[
            "A GET /a/{name=**}/b",
            "B GET /a/{name=**}/*/c",
            "C GET /a/{name=**}",
            "D GET /d/{name=**}/{parent}",
            "E GET /d/{name=**}/x/{parent}",
            "F GET /e/**/{name=p/*}/q",
        ],
        &[
            ("GET /a/b", "A []"),
            ("GET /a/x/b", "A [x]"),
            ("GET /a/x/y/b", "A [x/y]"),
            ("GET /a/x/c", "B []"),
            ("GET /a/x/y/c", "B [x]"),
            ("GET /a/c", "C [c]"),
            ("GET /a/x/y/z", "C [x/y/z]"),
            ("GET /a", "C []"),
            ("GET /d/1", "D [] [1]"),
            ("GET /d/1/2", "D [1] [2]"),
            ("GET /d/x/2", "E [] [2]"),
            ("GET /d/1/x/2", "E [1] [2]"),
            ("GET /d", "404"),
            ("GET /e/p/1/q", "F [p/1]"),
            ("GET /e/1/2/p/3/q", "F [p/3]"),
            ("GET /e/p/q", "404"),
        ],
    );
}

#[test]
fn a_verb_is_cut_off_only_where_a_route_has_it() {
    check(
        &[
            "A GET /v/{name}",
            "B GET /v/{name}:cancel",
            "C POST /v/{name}:stop",
            "D GET /w/{name=**}:cancel",
            "E GET /w/{name=a/*}",
            "F GET /x/{name}",
            "G GET /y:cancel",
            "H GET /{name=**}:all",
        ],
        &[
            ("GET /v/1", "A [1]"),
            ("GET /v/1:cancel", "B [1]"),
            ("GET /v/1:2:cancel", "B [1:2]"),
            ("GET /v/1:cancel:2", "A [1:cancel:2]"),
            ("GET /v/1:other", "A [1:other]"),
            ("GET /v/1:", "A [1:]"),
            ("GET /v/:cancel", "A [:cancel]"),
            // The route with this verb takes POST alone: the colon is data.
            ("GET /v/1:stop", "A [1:stop]"),
            ("POST /v/1:stop", "C [1]"),
            ("POST /v/1:cancel", "405 GET, HEAD"),
            ("POST /v/1", "405 GET, HEAD"),
            // A verb beats a capture that would swallow it, even one more specific.
            ("GET /w/a/1:cancel", "D [a/1]"),
            ("GET /w/a/1", "E [a/1]"),
            ("GET /w:cancel", "D []"),
            ("GET /w/:cancel", "404"),
            // A verb of other routes is data here.
            ("GET /x/1:cancel", "F [1:cancel]"),
            ("GET /y:cancel", "G"),
            ("GET /y", "404"),
            ("GET /:all", "H []"),
            ("GET /p/q:all", "H [p/q]"),
            // Encoded, a colon is data (RFC 3986, section 2.2).
            ("GET /v/1%3Acancel", "A [1:cancel]"),
            ("GET /v/1:c%61ncel", "B [1]"),
            ("GET /v:cancel/1", "404"),
        ],
    );
}

#[test]
fn captures_are_decoded_once() {
    check(
        &["A GET /one/{name}", "B GET /many/{name=**}", "C GET /two/{name=a/*}", "D GET /lit/{name=a}"],
        &[
            ("GET /one/a%2Fb", "A [a/b]"),
            ("GET /one/a%20b%C3%A9", "A [a bé]"),
            ("GET /one/%252F", "A [%2F]"),
            ("GET /one/a+b", "A [a+b]"),
            ("GET /one/é", "A [é]"),
            (
                "GET /one/%",
                "400 the path is malformed at byte 5: `%` is not followed by two hexadecimal digits",
            ),
            ("GET /many/a%2Fb/c%2fd", "B [a%2Fb/c%2fd]"),
            ("GET /many/a%3Ab%25", "B [a:b%]"),
            ("GET /many/%252F", "B [%2F]"),
            ("GET /many/%2F", "B [%2F]"),
            ("GET /two/a/b%2fc", "C [a/b%2fc]"),
            ("GET /two/a/b%3Fc", "C [a/b?c]"),
            ("GET /two/%61/b", "C [a/b]"),
            ("GET /lit/%61", "D [a]"),
        ],
    );
}

#[test]
fn paths_cannot_be_confused() {
    check(
        &["A GET /admin", "B GET /pub/{name}", "C GET /pub/{name}/x", "D GET /b%6foks/é", "E GET /c%2Fd"],
        &[
            // Dot segments are data, encoded or not, and lead nowhere else.
            ("GET /pub/..", "B [..]"),
            ("GET /pub/%2e%2e", "B [..]"),
            ("GET /pub/../admin", "404"),
            ("GET /pub/%2e%2e/admin", "404"),
            ("GET /pub/..%2fadmin", "B [../admin]"),
            ("GET /pub/..;/admin", "404"),
            ("GET /pub/..;", "B [..;]"),
            ("GET /./admin", "404"),
            ("GET /admin/.", "404"),
            ("GET /admin;a=b", "404"),
            ("GET /admin\\", "404"),
            ("GET \\admin", "404"),
            ("GET /pub\\x", "404"),
            ("GET /pub/a\\b", "B [a\\b]"),
            ("GET /pub/a%5cb", "B [a\\b]"),
            ("GET //admin", "404"),
            ("GET /%61dmin", "A"),
            ("GET /%61%64%6d%69%6e", "A"),
            ("GET /%2561dmin", "404"),
            ("GET /admin%2f", "404"),
            ("GET /%2fadmin", "404"),
            ("GET /pub%2fx", "404"),
            ("GET /books/%c3%a9", "D"),
            ("GET /books/%C3%A9", "D"),
            ("GET /books/é", "D"),
            ("GET /c%2fd", "E"),
            ("GET /c/d", "404"),
            ("GET /pub/a%00", "400 the path is malformed at byte 6: a NUL character"),
            ("GET /x%00/y", "400 the path is malformed at byte 2: a NUL character"),
            ("GET /pub/a\0", "400 the path is malformed at byte 6: a NUL character"),
            ("GET /pub/%c0%ae%c0%ae", "400 the path is malformed at byte 5: escapes that are not UTF-8"),
            ("GET /pub/%c0%af", "400 the path is malformed at byte 5: escapes that are not UTF-8"),
            ("GET /nowhere/%ff", "400 the path is malformed at byte 9: escapes that are not UTF-8"),
            (
                "GET /pub/%2",
                "400 the path is malformed at byte 5: `%` is not followed by two hexadecimal digits",
            ),
            (
                "GET /pub/%u0041",
                "400 the path is malformed at byte 5: `%` is not followed by two hexadecimal digits",
            ),
        ],
    );
}

#[test]
fn a_path_has_at_most_64_segments() {
    let tree = tree(&["A GET /{name=**}"]);
    let path = |segments: usize| "/a".repeat(segments);
    assert_eq!(found(&tree, "GET", &path(64)), format!("A [{}]", &path(64)[1..]));
    assert_eq!(found(&tree, "GET", &path(65)), "400 the path has more than 64 segments");
    assert_eq!(found(&tree, "GET", &"/".repeat(64)), "404");
    assert_eq!(found(&tree, "GET", &"/".repeat(65)), "400 the path has more than 64 segments");
}

#[test]
fn no_path_panics_and_none_is_matched_but_by_its_route() {
    let tree = tree(&["A GET /a/{name}", "B GET /{name=**}/b/{parent}:v", "C POST /a/**", "D GET /a/b:v"]);
    let pieces = ["/", "a", "b", ":v", ":", "%2F", "%61", "%", "%c3", "%a9", "é", "..", "%00", "*"];
    bolero::check!().with_type::<Vec<u8>>().for_each(|picks| {
        let path: String = picks.iter().map(|pick| pieces[usize::from(*pick) % pieces.len()]).collect();
        for verb in ["GET", "POST", "HEAD", "X"] {
            if let Match::Found { captures, .. } = tree.find(verb, &path) {
                assert!(captures.iter().count() <= 2);
            }
        }
    });
}

/// What the tree must do, told without one: all templates that match, and the best of them.
fn naive(rules: &[(String, PathTemplate)], verb: &str, path: &str) -> Option<String> {
    let rest = path.strip_prefix('/')?;
    let segments: Vec<&str> = if rest.is_empty() { Vec::new() } else { rest.split('/').collect() };
    if segments.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    let cut = segments.split_last().and_then(|(last, head)| {
        let (before, custom_verb) = last.rsplit_once(':')?;
        let mut segments = head.to_vec();
        if !before.is_empty() {
            segments.push(before);
        } else if !segments.is_empty() {
            return None;
        }
        Some((segments, Some(custom_verb)))
    });
    cut.into_iter().chain([(segments, None)]).find_map(|(segments, custom_verb)| {
        let matching = rules.iter().filter(|(other, template)| {
            other == verb && template.verb.as_deref() == custom_verb && matches(&template.segments, &segments)
        });
        matching.min_by(|a, b| specificity(&a.1.segments, &b.1.segments)).map(|(_, best)| best.to_string())
    })
}

fn matches(template: &[Segment], path: &[&str]) -> bool {
    match template.split_first() {
        None => path.is_empty(),
        Some((Segment::Many, rest)) => (0..=path.len()).any(|skipped| matches(rest, &path[skipped..])),
        Some((segment, rest)) => path.split_first().is_some_and(|(first, path)| {
            (*segment == Segment::One || *segment == Segment::Literal((*first).into())) && matches(rest, path)
        }),
    }
}

/// The first segments that differ in kind decide; of two that go on after `**`, the longer one comes first.
fn specificity(a: &[Segment], b: &[Segment]) -> Ordering {
    let rank = |segment: Option<&Segment>| match segment {
        Some(Segment::Literal(_)) => 0,
        Some(Segment::One) => 1,
        None => 2,
        Some(Segment::Many) => 3,
    };
    for index in 0..a.len().max(b.len()) {
        let (left, right) = (a.get(index), b.get(index));
        if left == Some(&Segment::Many) && right == Some(&Segment::Many) && a.len() != b.len() {
            return b.len().cmp(&a.len());
        }
        if rank(left) != rank(right) {
            return rank(left).cmp(&rank(right));
        }
    }
    Ordering::Equal
}

/// Up to as many of `pieces` as there are picks, and no more than `count_max`.
fn pick<'p>(pieces: &[&'p str], picks: &[u8], count_max: usize) -> Vec<&'p str> {
    let count = picks.len() % (count_max + 1);
    picks[..count].iter().map(|pick| pieces[usize::from(*pick) % pieces.len()]).collect()
}

fn template(segments: &[u8], verb: u8) -> String {
    let segments = pick(&["a", "b", "c", "*", "*", "**"], segments, 4);
    let verb = ["", "", "", ":v", ":w"][usize::from(verb) % 5];
    let verb = if segments.is_empty() { "" } else { verb };
    format!("/{}{verb}", segments.join("/"))
}

fn path(segments: &[u8]) -> String {
    let segments = pick(&["a", "b", "c", "d", "a:v", "b:w", ":v", "d:x", ""], segments, 5);
    format!("/{}", segments.join("/"))
}

#[test]
fn the_tree_finds_what_a_linear_search_finds() {
    type Picks = (Vec<(bool, Vec<u8>, u8)>, Vec<Vec<u8>>);
    bolero::check!().with_type::<Picks>().for_each(|(rules, paths)| {
        let rules: Vec<_> = rules
            .iter()
            .take(15)
            .map(|(is_get, segments, verb)| (if *is_get { "GET" } else { "POST" }, template(segments, *verb)))
            .filter_map(|(verb, text)| Some((verb.to_owned(), PathTemplate::parse(&text).ok()?)))
            .collect();
        let lines: Vec<String> = rules.iter().map(|(verb, shape)| format!("A {verb} {shape}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (tree, _) = try_build(&lines, Conflicts::First).expect("valid rules");
        for path in paths.iter().map(|segments| path(segments)) {
            for verb in ["GET", "POST"] {
                let found = match tree.find(verb, &path) {
                    Match::Found { binding, .. } => Some(binding.template.to_string()),
                    _ => None,
                };
                assert_eq!(found, naive(&rules, verb, &path), "{verb} {path} {lines:?}");
            }
        }
    });
}
