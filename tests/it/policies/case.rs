//! Reads files of cases; `tests/cases/policies/README.md` has the form.

use serde_json::Value;

/// One file: a configuration, files that it names, cases.
pub(super) struct Suite {
    pub(super) configuration: String,
    pub(super) files: Vec<(String, String)>,
    pub(super) cases: Vec<Case>,
}

pub(super) struct Case {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) times: usize,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) is_h2: bool,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// The coding that the body is really in, whatever its header says.
    pub(super) coding: Option<String>,
    pub(super) expected: Expected,
}

#[derive(Default)]
pub(super) struct Expected {
    pub(super) status: u16,
    /// The stage that refuses, and so counts.
    stage: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) headers: Vec<(String, Header)>,
    pub(super) body: Option<Value>,
    calls: Option<usize>,
    metrics: Vec<(String, f64)>,
}

#[derive(Debug)]
pub(super) enum Header {
    Absent,
    Is(String),
    Like(String),
}

impl Case {
    /// Calls of the backend: one for each reply below 300, unless the case says otherwise.
    pub(super) fn calls(&self) -> usize {
        self.expected.calls.unwrap_or(if self.expected.status < 300 { self.times } else { 0 })
    }

    /// The samples that move, and by how much.
    pub(super) fn movements(&self) -> Vec<(String, f64)> {
        let times = u32::try_from(self.times).expect("a small number").into();
        let mut movements = self.expected.metrics.clone();
        movements.push((format!("transom_http_replies_total{{code=\"{}\"}}", self.expected.status), times));
        if let (Some(stage), Some(reason)) = (&self.expected.stage, &self.expected.reason) {
            let sample = format!("transom_refused_total{{stage=\"{stage}\",reason=\"{reason}\"}}");
            movements.push((sample, times));
        }
        movements
    }
}

/// Reads a file; a mistake in it fails the test with its line.
pub(super) fn parse(text: &str) -> Suite {
    let mut suite = Suite { configuration: String::new(), files: Vec::new(), cases: Vec::new() };
    let mut lines = text.lines().enumerate().peekable();
    let mut file: Option<(String, String)> = None;
    for (_, line) in lines.by_ref() {
        if line == "%% cases" {
            break;
        }
        if let Some(name) = line.strip_prefix("%% file ") {
            suite.files.extend(file.replace((name.to_owned(), String::new())));
            continue;
        }
        let place = file.as_mut().map_or(&mut suite.configuration, |(_, content)| content);
        place.push_str(line);
        place.push('\n');
    }
    suite.files.extend(file);
    let mut block = Vec::new();
    for (index, line) in lines.map(|(index, line)| (index + 1, line)).chain([(0, "")]) {
        if !line.is_empty() {
            block.push((index, line));
        } else if !block.is_empty() {
            suite.cases.push(case(&std::mem::take(&mut block)));
        }
    }
    suite
}

fn case(lines: &[(usize, &str)]) -> Case {
    let mut lines = lines.iter().copied();
    let (place, first) = lines.next().expect("a case has lines");
    let name =
        first.strip_prefix("# ").unwrap_or_else(|| panic!("line {place}: a case begins with `# NAME`"));
    let (place, request) = lines.next().unwrap_or_else(|| panic!("line {place}: no request"));
    let (times, request) = match request.split_once(" x ") {
        Some((times, rest)) => (times.parse().unwrap_or_else(|_| panic!("line {place}: how often?")), rest),
        None => (1, request),
    };
    let (request, is_h2) = request.strip_suffix(" h2").map_or((request, false), |request| (request, true));
    let (method, target) =
        request.split_once(' ').unwrap_or_else(|| panic!("line {place}: a method and a target"));
    let mut case = Case {
        line: place,
        name: name.to_owned(),
        times,
        method: method.to_owned(),
        target: target.to_owned(),
        is_h2,
        headers: Vec::new(),
        body: String::new(),
        coding: None,
        expected: Expected::default(),
    };
    for (place, line) in lines.by_ref() {
        if let Some(outcome) = line.strip_prefix("=> ") {
            let (status, reason) = outcome.split_once(' ').map_or((outcome, None), |(a, b)| (a, Some(b)));
            case.expected.status = status.parse().unwrap_or_else(|_| panic!("line {place}: a number"));
            let (stage, reason) = match reason.map(|reason| (reason, reason.split_once('/'))) {
                Some((_, Some((stage, reason)))) => (Some(stage), Some(reason)),
                Some((reason, None)) => (None, Some(reason)),
                None => (None, None),
            };
            case.expected.stage = stage.map(str::to_owned);
            case.expected.reason = reason.map(str::to_owned);
            break;
        }
        if let Some(body) = line.strip_prefix("| ") {
            case.body.push_str(body);
        } else if let Some(coding) = line.strip_prefix("|in ") {
            case.coding = Some(coding.to_owned());
        } else {
            let (name, value) = pair(place, line);
            case.headers.push((name, value));
        }
    }
    assert!(case.expected.status > 0, "line {place}: no outcome");
    for (place, line) in lines {
        expect(&mut case.expected, place, line);
    }
    case
}

fn expect(expected: &mut Expected, place: usize, line: &str) {
    if line.starts_with('{') || line.starts_with('[') {
        expected.body = Some(serde_json::from_str(line).unwrap_or_else(|e| panic!("line {place}: {e}")));
    } else if let Some(calls) = line.strip_prefix("calls ") {
        expected.calls = Some(calls.parse().unwrap_or_else(|_| panic!("line {place}: how many calls?")));
    } else if line.starts_with("transom_") {
        let (name, by) = line.rsplit_once(" +").unwrap_or_else(|| panic!("line {place}: `SAMPLE +NUMBER`"));
        let by = by.parse().unwrap_or_else(|_| panic!("line {place}: by how much?"));
        expected.metrics.push((name.to_owned(), by));
    } else if let Some((name, pattern)) = line.split_once(" ~ ") {
        expected.headers.push((wire_name(name), Header::Like(pattern.to_owned())));
    } else {
        let (name, value) = pair(place, line);
        let header = if value == "-" { Header::Absent } else { Header::Is(value) };
        expected.headers.push((wire_name(&name), header));
    }
}

fn pair(place: usize, line: &str) -> (String, String) {
    let (name, value) = line
        .split_once(':')
        .unwrap_or_else(|| panic!("line {place}: expected `NAME: VALUE`, found `{line}`"));
    (name.to_owned(), value.trim_start().to_owned())
}

/// `seen NAME` is the metadata that the backend has got.
fn wire_name(name: &str) -> String {
    name.strip_prefix("seen ").map_or_else(|| name.to_owned(), |name| format!("grpc-metadata-seen-{name}"))
}
