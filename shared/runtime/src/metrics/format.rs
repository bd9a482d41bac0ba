//! The two text formats of the metrics, and the choice between them for a request.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// A format of `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0: the default if the request has no preference.
    OpenMetrics,
    /// Prometheus' own format, 0.0.4.
    Plain,
}

/// One entry of `Accept`.
struct Range<'a> {
    kind: &'a str,
    version: Option<&'a str>,
    /// In thousandths.
    quality: u32,
}

impl Format {
    /// The format that these `Accept` headers prefer. If they take neither, the plain one: most
    /// programs read that.
    pub fn accepted<'a>(headers: impl IntoIterator<Item = &'a str>) -> Self {
        let ranges: Vec<Range<'_>> =
            headers.into_iter().flat_map(|header| header.split(',')).map(Range::parse).collect();
        let quality = |format: Self| {
            // The most specific range decides.
            let fits = ranges.iter().filter_map(|range| Some((format.fit(range)?, range.quality)));
            fits.max_by_key(|(fit, _)| *fit).map_or(0, |(_, quality)| quality)
        };
        let (open, plain) = (quality(Self::OpenMetrics), quality(Self::Plain));
        if ranges.is_empty() || (open > 0 && open >= plain) { Self::OpenMetrics } else { Self::Plain }
    }

    /// The specificity with which a range describes this format; `None` if it does not.
    fn fit(self, range: &Range<'_>) -> Option<u8> {
        let (kind, major, versions): (_, _, &[&str]) = match self {
            Self::OpenMetrics => ("application/openmetrics-text", "application/*", &["1.0.0", "0.0.1"]),
            Self::Plain => ("text/plain", "text/*", &["0.0.4"]),
        };
        if range.kind.eq_ignore_ascii_case(kind) {
            return match range.version {
                Some(version) => versions.contains(&version).then_some(3),
                None => Some(2),
            };
        }
        if range.kind.eq_ignore_ascii_case(major) { Some(1) } else { (range.kind == "*/*").then_some(0) }
    }

    /// The content type of a response.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let (mut version, mut quality) = (None, 1_000);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "version" => version = Some(value.trim().trim_matches('"')),
                // A wrong weight is none.
                "q" => quality = value.trim().parse::<f32>().map_or(1_000, |q| (q.clamp(0.0, 1.0) * 1_000.0) as u32),
                _ => {}
            }
        }
        Self { kind, version, quality }
    }
}

/// OpenMetrics as Prometheus' own format: there a counter's description has the name of its
/// samples, and no end is marked.
pub(super) fn plain(open_metrics: &str) -> String {
    let described = |line: &str| -> Option<(String, String)> {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some((name.to_owned(), kind.to_owned()))
    };
    let types = open_metrics.lines().filter_map(described);
    let counters: BTreeSet<String> = types.filter(|(_, kind)| kind == "counter").map(|(name, _)| name).collect();
    let mut plain = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if let Some(line) = plain_line(line, &counters) {
            plain.push_str(&line);
            plain.push('\n');
        }
    }
    plain
}

fn plain_line<'a>(line: &'a str, counters: &BTreeSet<String>) -> Option<Cow<'a, str>> {
    let Some(comment) = line.strip_prefix("# ") else { return Some(line.into()) };
    // `# EOF` has no second word and ends here: the plain format has no such line.
    let (keyword, rest) = comment.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    match keyword {
        "HELP" | "TYPE" if counters.contains(name) => Some(format!("# {keyword} {name}_total {rest}").into()),
        "HELP" | "TYPE" => Some(line.into()),
        // Units, and the end.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Format::{OpenMetrics, Plain};
    use super::*;

    #[test]
    fn a_request_gets_the_format_that_it_prefers() {
        for (accept, format) in [
            ("text/plain;version=0.0.4", Plain),
            ("text/plain; version=0.0.4; charset=utf-8", Plain),
            ("text/plain", Plain),
            ("text/*", Plain),
            ("Text/Plain;version=\"0.0.4\"", Plain),
            ("application/vnd.google.protobuf;proto=x;q=0.7,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", Plain),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Plain),
            ("application/openmetrics-text;q=0,*/*", Plain),
            ("application/json", Plain),
            ("application/openmetrics-text;version=9.0.0,text/plain;q=0.1", Plain),
            ("*/*", OpenMetrics),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            ("text/plain;q=x", Plain),
        ] {
            assert_eq!(Format::accepted([accept]), format, "{accept}");
        }
        assert_eq!(Format::accepted([]), OpenMetrics);
        assert_eq!(Format::accepted(["application/openmetrics-text;q=0.1", "text/plain"]), Plain, "two headers");
    }

    #[test]
    fn counters_are_described_by_the_names_of_their_samples() {
        let open = "# HELP a_x Things done.\n# TYPE a_x counter\na_x_total 3\n# HELP a_y Now.\n# TYPE a_y gauge\na_y 1\n\
                    # HELP a_z Spread.\n# TYPE a_z histogram\na_z_sum 0.5\na_z_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let expected = "# HELP a_x_total Things done.\n# TYPE a_x_total counter\na_x_total 3\n# HELP a_y Now.\n\
                        # TYPE a_y gauge\na_y 1\n# HELP a_z Spread.\n# TYPE a_z histogram\na_z_sum 0.5\n\
                        a_z_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(plain(open), expected);
    }
}
