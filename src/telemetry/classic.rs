//! OpenMetrics text in the older text format of Prometheus, version 0.0.4, which is what tools without a choice
//! read: `promtool check metrics`, and whoever asks for nothing in particular.
//!
//! ```text
//! # HELP a_b Calls.           # HELP a_b_total Calls.
//! # TYPE a_b counter     →    # TYPE a_b_total counter
//! # UNIT a_b seconds          a_b_total 3
//! a_b_total 3
//! # EOF
//! ```
//!
//! A counter is named there as its sample is; units and the end are not said.

/// Translates what [`Metrics::render`](super::Metrics::render) writes.
pub(super) fn classic(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    // Help comes before the type, and its name depends on that.
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            push(&mut out, &[line]);
            continue;
        };
        if let Some((name, text)) = comment.strip_prefix("HELP ").and_then(|rest| rest.split_once(' ')) {
            help = Some((name, text));
        } else if let Some((name, kind)) = comment.strip_prefix("TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (kind, end) = match kind {
                "counter" => (kind, "_total"),
                "info" => ("gauge", "_info"),
                "unknown" => ("untyped", ""),
                _ => (kind, ""),
            };
            if let Some((_, text)) = help.take().filter(|(helped, _)| *helped == name) {
                push(&mut out, &["# HELP ", name, end, " ", text]);
            }
            push(&mut out, &["# TYPE ", name, end, " ", kind]);
        }
    }
    out
}

fn push(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_their_samples() {
        let openmetrics = "# HELP a Calls.\n# TYPE a counter\na_total{x=\"# TYPE\"} 3\n\
                           # HELP b_seconds Time.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 1.0\n\
                           # HELP c About.\n# TYPE c info\nc_info{v=\"1\"} 1\n\
                           # TYPE d unknown\nd 1\n# EOF\n";
        let expected = "# HELP a_total Calls.\n# TYPE a_total counter\na_total{x=\"# TYPE\"} 3\n\
                        # HELP b_seconds Time.\n# TYPE b_seconds gauge\nb_seconds 1.0\n\
                        # HELP c_info About.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n\
                        # TYPE d untyped\nd 1\n";
        assert_eq!(classic(openmetrics), expected);
    }
}
