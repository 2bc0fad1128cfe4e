//! One case of `tests/cases/cache.txt`: what a backend says, what clients ask, what they are told.
//!
//! ```text
//! # title
//! @ ttl: 30s                             the rule's `cache`; without it `ttl: origin`
//! < etag: "a" | cache-control: …         what the backend says from now on; `< !14` fails with that code
//! > +5s GET ?q=1 if-none-match: "a" => 304 - hit; ttl=55 | age: 5
//!   time, verb, query, headers         number, the backend's call that made the body, `Cache-Status`, headers
//! ```

use http::{HeaderMap, HeaderName, HeaderValue};

const CASES: &str = include_str!("../../cases/cache.txt");

/// One case.
pub(super) struct Case {
    pub(super) title: &'static str,
    /// The keys of the rule's `cache`.
    pub(super) rule: &'static str,
    pub(super) steps: Vec<Step>,
}

pub(super) enum Step {
    Says(Says),
    Asks(Asks),
}

/// What the backend says: metadata, or a gRPC code that is not OK.
#[derive(Clone, Debug, Default)]
pub(super) struct Says {
    pub(super) metadata: HeaderMap,
    pub(super) code: u32,
}

/// What a client asks, and what it must be told.
pub(super) struct Asks {
    pub(super) line: &'static str,
    /// Since the step before.
    pub(super) after_s: u64,
    pub(super) verb: &'static str,
    pub(super) query: &'static str,
    pub(super) headers: HeaderMap,
    expected: Told,
    also: Vec<(&'static str, Option<&'static str>)>,
}

/// What a client was told, as far as every case looks at it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    number: u16,
    /// `None`: no body.
    call: Option<u32>,
    cache_status: String,
}

/// Where clients ask.
pub(super) trait Door {
    /// By how much replies may be older than the case says: a real clock does not stand still.
    const SLACK_S: i64;

    /// What the backend says from now on.
    fn says(&mut self, says: Says);

    async fn ask(&mut self, case: usize, rule: &str, asks: &Asks) -> (u16, HeaderMap, Vec<u8>);
}

/// All cases.
pub(super) fn all() -> Vec<Case> {
    let blocks = CASES.split("\n\n").filter(|block| block.lines().any(|line| line.starts_with('>')));
    blocks.map(Case::read).collect()
}

/// The distinct rules of all cases; the host of a rule's surface is `c` and its place here.
pub(super) fn rules(cases: &[Case]) -> Vec<&'static str> {
    let mut rules: Vec<_> = cases.iter().map(|case| case.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// The surfaces of all rules.
pub(super) fn surfaces(rules: &[&str]) -> String {
    let surface = |(index, rule): (usize, &&str)| {
        format!(
            "  s{index}: {{ hosts: [c{index}], rules: [\
             {{ match: [door.v1.Door.Get, door.v1.Door.Download], cache: {{ {rule} }} }}, {{ match: door.v1.* }}] }}\n"
        )
    };
    format!("surfaces:\n{}", rules.iter().enumerate().map(surface).collect::<String>())
}

impl Case {
    fn read(block: &'static str) -> Self {
        let mut case = Self { title: "", rule: "ttl: origin", steps: Vec::new() };
        for line in block.lines() {
            match line.split_once(' ') {
                Some(("#", title)) => case.title = title,
                Some(("@", rule)) => case.rule = rule,
                Some(("<", says)) => case.steps.push(Step::Says(Says::read(says))),
                Some((">", asks)) => case.steps.push(Step::Asks(Asks::read(asks))),
                _ => panic!("no step of a case: {line}"),
            }
        }
        case
    }

    /// Whether no time passes in it.
    pub(super) fn is_timeless(&self) -> bool {
        !self.steps.iter().any(|step| matches!(step, Step::Asks(asks) if asks.after_s > 0))
    }

    pub(super) async fn run(&self, index: usize, door: &mut impl Door) {
        for step in &self.steps {
            match step {
                Step::Says(says) => door.says(says.clone()),
                Step::Asks(asks) => {
                    let (number, headers, body) = door.ask(index, self.rule, asks).await;
                    asks.check(self.title, number, &headers, &body, slack_s(door));
                }
            }
        }
    }
}

fn slack_s<D: Door>(_: &D) -> i64 {
    D::SLACK_S
}

/// A text with the number behind `label` as `expected` has it, if it is older by no more than the slack.
fn settled(text: &str, expected: &str, label: &str, slack_s: i64) -> String {
    let number = |text: &str| {
        let (before, rest) = text.split_once(label)?;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
        Some((before.len() + label.len(), end, rest.get(..end)?.parse::<i64>().ok()?))
    };
    match (number(text), number(expected)) {
        (Some((start, length, found)), Some((_, _, meant))) if (found - meant).abs() <= slack_s => {
            format!("{}{meant}{}", &text[..start], &text[start + length..])
        }
        _ => text.to_owned(),
    }
}

impl Says {
    fn read(text: &'static str) -> Self {
        match text.strip_prefix('!') {
            Some(code) => Self { code: code.parse().expect("a code"), ..Self::default() },
            None => Self { metadata: headers(text), code: 0 },
        }
    }
}

impl Asks {
    fn read(line: &'static str) -> Self {
        let (asked, told) = line.split_once(" => ").expect("what is told");
        let mut words = asked;
        let mut next = |is_it: fn(&str) -> bool| {
            let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
            if is_it(word) { std::mem::replace(&mut words, rest).split(' ').next() } else { None }
        };
        let after = next(|word| word.starts_with('+')).map(|word| word.trim_matches(['+', 's']));
        let verb = next(|word| word.bytes().all(|byte| byte.is_ascii_uppercase())).expect("a verb");
        let query = next(|word| word.starts_with('?') || word.starts_with('/')).unwrap_or_default();
        let headers = headers(words);
        let mut parts = told.split(" | ");
        let mut first = parts.next().unwrap_or_default().splitn(3, ' ');
        let number = first.next().and_then(|text| text.parse().ok()).expect("a number");
        let call = first.next().and_then(|text| text.strip_prefix('#')?.parse().ok());
        let cache_status = first.next().unwrap_or_default().to_owned();
        let also = parts.map(|part| {
            let (name, value) = part.split_once(": ").expect("a header");
            (name, (value != "none").then_some(value))
        });
        Self {
            line,
            after_s: after.map_or(0, |text| text.parse().expect("seconds")),
            verb,
            query,
            headers,
            expected: Told { number, call, cache_status },
            also: also.collect(),
        }
    }

    /// Whether a kept reply must answer it without a question to the backend.
    pub(super) fn is_answered_by_kept(&self) -> bool {
        self.expected.cache_status.starts_with("hit")
    }

    fn check(&self, title: &str, number: u16, headers: &HeaderMap, body: &[u8], slack_s: i64) {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().expect("ASCII"));
        let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let count = json["count"].as_u64().map(|count| u32::try_from(count).expect("few calls"));
        let status = text("cache-status").unwrap_or_default();
        let status = status.strip_prefix("transom; ").unwrap_or(status);
        let status = settled(status, &self.expected.cache_status, "ttl=", slack_s);
        let told = Told { number, call: count, cache_status: status };
        assert_eq!(told, self.expected, "{title}: {}\n{headers:?}", self.line);
        for (name, value) in &self.also {
            let slack_s = if *name == "age" { slack_s } else { 0 };
            let found = text(name).map(|text| settled(text, value.unwrap_or_default(), "", slack_s));
            assert_eq!(found.as_deref(), *value, "{title}: {}: {name}", self.line);
        }
    }
}

/// `name: value | name: value`.
fn headers(text: &'static str) -> HeaderMap {
    let header = |line: &'static str| {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line}"));
        let value = HeaderValue::from_static(value.trim());
        (HeaderName::try_from(name.trim()).expect("a name"), value)
    };
    text.split('|').map(str::trim).filter(|line| !line.is_empty()).map(header).collect()
}
