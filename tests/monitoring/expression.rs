//! The metrics, labels and values in an expression of Prometheus. Reads the part of the language
//! that is used here, and takes each unknown word for a metric.

/// Words that are no metrics.
const OPERATORS: [&str; 4] = ["and", "or", "unless", "offset"];

/// The metrics of an expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expression {
    pub(crate) figures: Vec<Figure>,
    /// Labels that stay after a sum.
    pub(crate) grouped_by: Vec<String>,
}

/// A figure, and which of its labels must have one of which values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, Vec<String>)>,
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Self {
        let (mut found, mut rest) = (Self::default(), text);
        while let Some(start) = rest.find(|c| is_of_word(c) || c == '[') {
            rest = &rest[start..];
            if rest.starts_with('[') {
                // A span of time.
                (_, rest) = rest.split_once(']').unwrap();
                continue;
            }
            let (word, after) = rest.split_at(rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()));
            rest = after.trim_start();
            if word == "by" {
                let labels;
                (labels, rest) = rest.strip_prefix('(').unwrap().split_once(')').unwrap();
                found.grouped_by.extend(labels.split(',').map(|label| label.trim().to_owned()));
            } else if !word.starts_with(|c: char| c.is_ascii_digit())
                && !OPERATORS.contains(&word)
                && !rest.starts_with('(')
                && !rest.starts_with("by ")
            {
                let labels;
                (labels, rest) = rest.strip_prefix('{').map_or(("", rest), |labels| labels.split_once('}').unwrap());
                found.figures.push(Figure { name: word.to_owned(), labels: parse_labels(labels) });
            }
        }
        found
    }
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Of `a="x", b=~"y|z"`; what is not to be so is no different.
fn parse_labels(text: &str) -> Vec<(String, Vec<String>)> {
    let of_one = |text: &str| {
        let (name, values) = text.split_once('=').unwrap();
        let values = values.trim_start_matches('~').trim_matches('"').split('|').map(str::to_owned).collect();
        (name.trim_end_matches('!').trim().to_owned(), values)
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(of_one).collect()
}

#[test]
fn figures_and_labels_are_found() {
    let text =
        r#"histogram_quantile(0.99, sum by (a, le) (rate(x_bucket{a=~"1|2", b="3"}[5m]))) / max(y) > 0.9 * 10 or z"#;
    let figure = |name: &str, labels| Figure { name: name.to_owned(), labels };
    let is = |name: &str, values: &[&str]| (name.to_owned(), values.iter().map(|value| (*value).to_owned()).collect());
    let x = figure("x_bucket", vec![is("a", &["1", "2"]), is("b", &["3"])]);
    let figures = vec![x, figure("y", Vec::new()), figure("z", Vec::new())];
    assert_eq!(Expression::parse(text), Expression { figures, grouped_by: vec!["a".to_owned(), "le".to_owned()] });
}
