//! A table as people see it on a page: which columns are joined, which row stands out, and how it is
//! kept within the width of the page.

use maud::{Markup, html};

use crate::chart::text_width;
use crate::names::{pieces, shorten, shorten_all};
use crate::{Cell, Column, Error, Kind, Table, significant, with_spread};

/// Characters of the longest name in a column; those of a column with a longer one are shortened.
const LONGEST: usize = 60;
/// Characters of the longest text, which is broken over several lines.
const LONGEST_PROSE: f64 = 400.0;
/// The size of print, in points, and the least room of a cell beside its text.
const PRINT: u32 = 7;
const PADDING: f64 = 8.0;
/// The most room that a text asks for in print, where it is broken, in points.
const TEXT: f64 = 110.0;

/// A table with what a page shows of it. What a program reads, and what is written to files, is the
/// table.
///
/// ```
/// use report::{Section, Table, TableView};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Row {
///     mode: String,
///     bound: f64,
///     bound_sd: f64,
/// }
/// let row = |mode: &str, bound, bound_sd| Row { mode: mode.into(), bound, bound_sd };
/// let table = Table::from_rows(&[row("uniform", 6.1, 0.02), row("learned", 5.931, 0.012)])?;
/// let view = TableView::new(&table).spread("bound", "bound_sd")?.lowest("bound")?;
/// let section = Section::new("Bounds").table(view, "Mean ± standard deviation over three seeds");
/// # Ok::<(), report::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TableView {
    table: Table,
    /// Columns of means with those of their spreads.
    spreads: Vec<(usize, usize)>,
    /// By row.
    is_best: Vec<bool>,
}

impl From<&Table> for TableView {
    fn from(table: &Table) -> Self {
        Self::new(table)
    }
}

impl TableView {
    /// All of `table`, as it is. Floats are shown with four digits.
    pub fn new(table: &Table) -> Self {
        Self { table: table.clone(), spreads: Vec::new(), is_best: vec![false; table.rows().len()] }
    }

    /// Shows the column `mean` with the column `spread` behind it, `5.931 ± 0.012`, and no longer that
    /// one by itself. A mean without a spread stands alone.
    ///
    /// # Errors
    /// [`Error::NoNumbers`] if one of them is no column of numbers.
    pub fn spread(mut self, mean: &str, spread: &str) -> Result<Self, Error> {
        let columns = (self.numbers(mean)?, self.numbers(spread)?);
        self.spreads.push(columns);
        Ok(self)
    }

    /// Makes the rows stand out in which the numbers of `column` are lowest.
    ///
    /// # Errors
    /// [`Error::NoNumbers`] if it is no column of numbers.
    pub fn lowest(self, column: &str) -> Result<Self, Error> {
        self.best(column, |value| value)
    }

    /// Makes the rows stand out in which the numbers of `column` are highest.
    ///
    /// # Errors
    /// [`Error::NoNumbers`] if it is no column of numbers.
    pub fn highest(self, column: &str) -> Result<Self, Error> {
        self.best(column, |value| -value)
    }

    fn best(mut self, column: &str, cost: impl Fn(f64) -> f64) -> Result<Self, Error> {
        let column = self.numbers(column)?;
        let costs = || self.table.rows().iter().map(|row| number(&row[column]).map(&cost));
        let least = costs().flatten().fold(f64::INFINITY, f64::min);
        self.is_best = costs().map(|it| it == Some(least)).collect();
        Ok(self)
    }

    fn numbers(&self, name: &str) -> Result<usize, Error> {
        let is_it = |kind| matches!(kind, Kind::Integer | Kind::Float);
        let mut columns = self.table.columns().iter();
        let place = columns.position(|it| it.name == name && is_it(it.kind));
        place.ok_or_else(|| Error::NoNumbers { name: name.to_owned() })
    }

    /// The table in boxes: one that scrolls, and if it is wider than `width` points of print, the parts
    /// that are printed in its place.
    pub(crate) fn markup(&self, caption: &str, width: f64) -> Markup {
        let columns = self.columns();
        let parts = parts(&columns, width);
        let all: Vec<&Shown> = columns.iter().collect();
        let class = if parts.len() > 1 { "table screen" } else { "table" };
        html! {
            // A box that scrolls has to be reachable without a mouse.
            div class=(class) tabindex="0" role="region" aria-label=(if caption.is_empty() { "Table" } else { caption }) {
                (self.part(&all, caption))
            }
            @if parts.len() > 1 {
                @for (index, part) in parts.iter().enumerate() {
                    @let caption = format!("{caption} ({} of {})", index + 1, parts.len());
                    div.table.paper { (self.part(part, caption.trim_start())) }
                }
            }
        }
    }

    fn part(&self, columns: &[&Shown], caption: &str) -> Markup {
        html! {
            table {
                @if !caption.is_empty() { caption { (caption) } }
                thead {
                    tr {
                        @for column in columns {
                            th scope="col" class=[column.is_number.then_some("number")] { (breakable(&column.name)) }
                        }
                    }
                }
                tbody {
                    @for (row, is_best) in self.is_best.iter().enumerate() {
                        tr class=[is_best.then_some("best")] {
                            @for column in columns {
                                @let (short, full) = &column.cells[row];
                                td class=[column.class(row)] title=[(short != full).then_some(full)] { (short) }
                            }
                        }
                    }
                }
            }
        }
    }

    /// What is shown, in the order of the table.
    fn columns(&self) -> Vec<Shown> {
        let is_spread = |index| self.spreads.iter().any(|it| it.1 == index && it.0 != index);
        let places = (0..self.table.columns().len()).filter(|&it| !is_spread(it));
        places.map(|it| self.column(it)).collect()
    }

    fn column(&self, index: usize) -> Shown {
        let spread = self.spreads.iter().find(|it| it.0 == index).map(|it| it.1);
        let text =
            |row: &Vec<Cell>| match (number(&row[index]), spread.and_then(|it| number(&row[it]))) {
                (Some(mean), Some(spread)) => with_spread(mean, spread),
                _ => show(&row[index]),
            };
        let full: Vec<String> = self.table.rows().iter().map(text).collect();
        let count = |text: &str| text.chars().count() as f64;
        let names: Vec<&String> = full.iter().filter(|it| !is_prose(it)).collect();
        let mut names = shorten_all(&names, LONGEST as f64, count).into_iter();
        let short = |text: &String| {
            if is_prose(text) {
                shorten(text, LONGEST_PROSE, count)
            } else {
                names.next().unwrap_or_default()
            }
        };
        let short: Vec<String> = full.iter().map(short).collect();
        let Column { name, kind } = self.table.columns()[index].clone();
        let is_number = matches!(kind, Kind::Integer | Kind::Float);
        Shown { name, is_number, cells: short.into_iter().zip(full).collect() }
    }
}

/// A column as it is shown: its cells, shortened and in full.
struct Shown {
    name: String,
    is_number: bool,
    cells: Vec<(String, String)>,
}

impl Shown {
    fn class(&self, row: usize) -> Option<&'static str> {
        if self.is_number {
            return Some("number");
        }
        is_prose(&self.cells[row].0).then_some("prose")
    }

    /// The points that it asks for in print, where its name may be broken, and texts, too.
    fn width(&self) -> f64 {
        let most = if self.is_number { f64::INFINITY } else { TEXT };
        let cells = self.cells.iter().map(|it| text_width(&it.0, PRINT).min(most));
        let name = pieces(&self.name).map(|it| 1.15 * text_width(it, PRINT)); // it is bold
        name.chain(cells).fold(0.0, f64::max) + PADDING
    }
}

/// The columns by parts that are no wider than `width` points, unless they are a column alone. The first
/// column, which says what a row is, is in all of them.
fn parts(columns: &[Shown], width: f64) -> Vec<Vec<&Shown>> {
    let Some((first, rest)) = columns.split_first() else { return vec![Vec::new()] };
    let mut parts = vec![vec![first]];
    let mut free = width - first.width();
    for column in rest {
        if free < column.width() && parts.last().is_some_and(|it| it.len() > 1) {
            parts.push(vec![first]);
            free = width - first.width();
        }
        free -= column.width();
        if let Some(part) = parts.last_mut() {
            part.push(column);
        }
    }
    parts
}

/// Whether `text` is a text and no name: it is broken over lines rather than shortened.
fn is_prose(text: &str) -> bool {
    text.contains(char::is_whitespace) && text.chars().count() > LONGEST
}

/// `name`, which may be broken where its parts end.
fn breakable(name: &str) -> Markup {
    html! {
        @for part in pieces(name) { (part) wbr; }
    }
}

fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Integer(value) => Some(*value as f64),
        Cell::Float(value) => Some(*value),
        Cell::Empty | Cell::Text(_) | Cell::Boolean(_) => None,
    }
}

fn show(cell: &Cell) -> String {
    match cell {
        Cell::Empty => "–".to_owned(),
        Cell::Text(text) => text.clone(),
        Cell::Integer(value) => value.to_string().replace('-', "−"),
        Cell::Float(value) => significant(*value, 4),
        Cell::Boolean(value) => if *value { "yes" } else { "no" }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::every_kind_of_cell;

    /// A table of `columns`, all of floats.
    fn floats(columns: &[&str], rows: &[&[f64]]) -> Table {
        let column = |name: &&str| Column { name: (*name).to_owned(), kind: Kind::Float };
        let mut table = Table::new(columns.iter().map(column).collect()).unwrap();
        for row in rows {
            table.push(row.iter().map(|it| Cell::Float(*it)).collect()).unwrap();
        }
        table
    }

    fn texts(texts: &[&str]) -> Table {
        let mut table = Table::new(every_kind_of_cell().columns()[..1].to_vec()).unwrap();
        for text in texts {
            table.push(vec![Cell::Text((*text).to_owned())]).unwrap();
        }
        table
    }

    fn html(view: &TableView) -> String {
        view.markup("", 774.0).into_string()
    }

    #[test]
    fn cells_are_shown_for_people() {
        let html = html(&TableView::new(&every_kind_of_cell()));
        assert!(html.contains("<td>&lt;&amp;&gt;</td><td class=\"number\">9007199254740993</td><td class=\"number\">nan</td><td>no</td>"));
        assert!(html.contains(
            "<td>–</td><td class=\"number\">–</td><td class=\"number\">inf</td><td>–</td>"
        ));
    }

    #[test]
    fn a_mean_has_its_spread_behind_it() {
        let mut table = floats(&["bound", "n", "sd"], &[&[5.9306, 3.0, 0.0124]]);
        table.push(vec![Cell::Float(6.0), Cell::Float(1.0), Cell::Empty]).unwrap();
        let html = html(&TableView::new(&table).spread("bound", "sd").unwrap());
        let cells = |bound, n| {
            format!("<td class=\"number\">{bound}</td><td class=\"number\">{n}</td></tr>")
        };
        assert!(html.contains(&cells("5.931 ± 0.012", "3.000")), "{html}");
        assert!(html.contains(&cells("6.000", "1.000")) && !html.contains("sd"), "{html}");
    }

    #[test]
    fn the_best_rows_stand_out() {
        let table = floats(&["a"], &[&[2.0], &[f64::NAN], &[1.0], &[1.0], &[3.0]]);
        let view = TableView::new(&table);
        let lowest = view.clone().lowest("a").unwrap();
        assert_eq!(lowest.is_best, [false, false, true, true, false]);
        assert_eq!(html(&lowest).matches("<tr class=\"best\">").count(), 2);
        assert_eq!(view.highest("a").unwrap().is_best, [false, false, false, false, true]);
        let nothing = TableView::new(&floats(&["a"], &[&[f64::NAN]])).lowest("a").unwrap();
        assert_eq!(nothing.is_best, [false]);
    }

    #[test]
    fn a_column_that_is_not_there_or_has_no_numbers_is_refused() {
        let view = || TableView::new(&every_kind_of_cell());
        for name in ["nope", "name", "flag"] {
            let error = view().lowest(name).unwrap_err().to_string();
            assert_eq!(error, format!("there is no column `{name}` of numbers"));
            assert!(view().spread("value", name).is_err() && view().spread(name, "value").is_err());
        }
        assert!(view().highest("count").is_ok());
    }

    #[test]
    fn long_names_of_a_column_lose_what_they_share_and_texts_are_broken() {
        let name = |layer| format!("{}.h.{layer}.weight", "x".repeat(60));
        let names = [name(0), name(1), "misc".to_owned()];
        let html = html(&TableView::new(&texts(&names.each_ref().map(String::as_str))));
        assert!(html.contains(&format!("<td title=\"{}\">…h.0.weight</td>", names[0])), "{html}");
        assert!(html.contains("<td>misc</td>"), "{html}");
        let text = "left out, because it is a vector of as many values as the model has dimensions";
        let cell = format!("<td class=\"prose\">{text}</td>");
        assert!(super::tests::html(&TableView::new(&texts(&[text]))).contains(&cell));
    }

    #[test]
    fn a_table_that_is_too_wide_for_paper_is_printed_in_parts() {
        let names: Vec<String> = (0..40).map(|it| format!("column_{it}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let row: Vec<f64> = (0..40).map(f64::from).collect();
        let view = TableView::new(&floats(&names, &[&row, &row]));
        let wide = view.columns();
        // "column_" in bold is 1.15 × 7 × 4.21 pt wide, so a column 41.9 pt, of which 774 hold 18.
        let of_parts = |width| parts(&wide, width).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(of_parts(774.0), [18, 18, 6]);
        assert_eq!(of_parts(2000.0), [40]);
        assert_eq!(of_parts(0.0), [2; 39]); // the first and one other
        let html = html(&view);
        assert_eq!(html.matches("<table>").count(), 4);
        assert_eq!(html.matches("<div class=\"table paper\">").count(), 3);
        assert!(html.contains("(2 of 3)"));
    }

    #[test]
    fn a_table_without_columns_or_rows_is_one() {
        let nothing = html(&TableView::new(&Table::new(vec![]).unwrap()));
        assert_eq!(nothing.matches("<table>").count(), 1);
        assert!(html(&TableView::new(&texts(&[]))).contains("<tbody></tbody>"));
    }
}
