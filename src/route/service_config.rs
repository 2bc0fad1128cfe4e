//! The `http` section of a Google service configuration file: rules that stand in for annotations.
//!
//! ```yaml
//! http:
//!   rules:
//!   - selector: pkg.Service.Method
//!     get: /v1/{name=things/*}
//!     additional_bindings: [{ get: "/v1/{name=stuff/*}" }]
//! ```
//!
//! Of several rules for one selector the last one counts (`google/api/http.proto`). Such files have many
//! other sections, which are none of ours; within `http`, an unknown key is an error.

use serde::Deserialize;

use super::rule::{CustomHttpPattern, Declared, HttpRule, Pattern};

/// The bindings that a file gives to one method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedRules {
    /// Full name of the method.
    pub selector: String,
    pub rules: Vec<HttpRule>,
}

/// Why a service configuration cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceConfigError {
    #[error("{0}")]
    Yaml(String),
    #[error("`http.rules[{index}]` (`{selector}`): {reason}")]
    Rule { index: usize, selector: String, reason: String },
}

/// Reads the rules of a service configuration in YAML (JSON is YAML too), in order.
pub fn parse(yaml: &str) -> Result<Vec<SelectedRules>, Vec<ServiceConfigError>> {
    let file: File =
        serde_saphyr::from_str(yaml).map_err(|error| vec![ServiceConfigError::Yaml(error.to_string())])?;
    let mut selected = Vec::new();
    let mut errors = Vec::new();
    for (index, rule) in file.http.rules.into_iter().enumerate() {
        let selector = rule.selector.clone();
        match rule.into_rules() {
            Ok(rules) => selected.push(SelectedRules { selector, rules }),
            Err(reason) => errors.push(ServiceConfigError::Rule { index, selector, reason }),
        }
    }
    if errors.is_empty() { Ok(selected) } else { Err(errors) }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    http: Http,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    #[serde(default)]
    rules: Vec<Rule>,
    /// Read and not needed: multi-segment captures decode all but slashes anyway.
    #[serde(default, rename = "fully_decode_reserved_expansion", alias = "fullyDecodeReservedExpansion")]
    _fully_decode_reserved_expansion: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rule {
    selector: String,
    get: Option<String>,
    put: Option<String>,
    post: Option<String>,
    delete: Option<String>,
    patch: Option<String>,
    custom: Option<Custom>,
    body: String,
    #[serde(alias = "responseBody")]
    response_body: String,
    #[serde(alias = "additionalBindings")]
    additional_bindings: Vec<Self>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Custom {
    kind: String,
    path: String,
}

impl Rule {
    fn into_rules(self) -> Result<Vec<HttpRule>, String> {
        if self.selector.is_empty() {
            return Err("expected a `selector`".into());
        }
        self.declared()?.flatten().map_err(|error| error.to_string())
    }

    fn declared(self) -> Result<Declared, String> {
        let custom = self.custom.map(|Custom { kind, path }| CustomHttpPattern { kind, path });
        let patterns = [
            self.get.map(Pattern::Get),
            self.put.map(Pattern::Put),
            self.post.map(Pattern::Post),
            self.delete.map(Pattern::Delete),
            self.patch.map(Pattern::Patch),
            custom.map(Pattern::Custom),
        ];
        let mut patterns = patterns.into_iter().flatten();
        let pattern = patterns.next();
        if patterns.next().is_some() {
            return Err("more than one path: write further ones as `additional_bindings`".into());
        }
        let additional = self.additional_bindings.into_iter().map(Self::declared);
        Ok(Declared {
            pattern,
            body: self.body,
            response_body: self.response_body,
            additional_bindings: additional.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_in_order_beside_other_sections() {
        let yaml = r#"
type: google.api.Service
config_version: 3
apis: [{ name: a.B }]
http:
  fully_decode_reserved_expansion: true
  rules:
  - selector: a.B.C
    get: "/v1/{x}"
    additional_bindings:
    - post: /v1/y
      body: "*"
  - selector: a.B.D
    custom: { kind: "*", path: /d }
    responseBody: r
"#;
        let rules = parse(yaml).expect("valid");
        let shown: Vec<_> = rules
            .iter()
            .flat_map(|selected| selected.rules.iter().map(move |rule| (&selected.selector, rule)))
            .map(|(selector, rule)| {
                format!("{selector} {} {} {:?} {:?}", rule.verb, rule.template, rule.body, rule.response_body)
            })
            .collect();
        assert_eq!(
            shown,
            [r#"a.B.C GET /v1/{x} "" """#, r#"a.B.C POST /v1/y "*" """#, r#"a.B.D * /d "" "r""#]
        );
    }

    #[test]
    fn a_file_without_http_has_no_rules() {
        assert_eq!(parse("type: google.api.Service"), Ok(Vec::new()));
        assert_eq!(parse("http: {}"), Ok(Vec::new()));
    }

    #[test]
    fn bad_files_are_refused_with_their_place() {
        for (yaml, expected) in [
            ("http: { rules: [{ get: /a }] }", "`http.rules[0]` (``): expected a `selector`"),
            ("http: { rules: [{ selector: a }] }", "`http.rules[0]` (`a`): the http rule has no path"),
            (
                "http: { rules: [{ selector: a, get: /a, put: /a }] }",
                "`http.rules[0]` (`a`): more than one path",
            ),
            (
                "http: { rules: [{ selector: a, custom: { kind: 'x y', path: /a } }] }",
                "`http.rules[0]` (`a`): `x y` is not",
            ),
            (
                "http: { rules: [{ selector: a, get: /a, additional_bindings: [{ get: /b, additional_bindings: [{ get: /c }] }] }] }",
                "`http.rules[0]` (`a`): `additional_bindings` within",
            ),
        ] {
            let errors = parse(yaml).expect_err("refused");
            assert!(errors[0].to_string().starts_with(expected), "{yaml}: {}", errors[0]);
        }
        for (yaml, expected) in [
            ("http: { rules: [{ selector: a, gett: /a }] }", "gett"),
            ("http: { rulez: [] }", "rulez"),
            ("http: [", "line 1"),
        ] {
            let errors = parse(yaml).expect_err("refused");
            assert!(errors[0].to_string().contains(expected), "{yaml}: {}", errors[0]);
        }
    }
}
