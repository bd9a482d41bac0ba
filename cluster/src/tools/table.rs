//! Rows of text in aligned columns.

/// The rows, each a line, columns padded to their widest cell and two spaces apart.
pub(super) fn align<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "b", "c"], ["äöü", "", "d"], ["", "", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(align(&rows), "a    b  c\näöü     d\n\n");
        assert_eq!(align::<2>(&[]), "");
    }
}
