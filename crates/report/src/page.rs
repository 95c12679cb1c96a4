//! A page: one HTML file with everything in it.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{Svg, TableView};

const STYLE: &str = include_str!("page.css");

/// Pixels above which a chart has a page upright in print.
const TALL: f64 = 660.0;

/// The width of a printed page across and upright, in points: A4 without margins of 12 mm.
const ACROSS: f64 = 774.0;
const UPRIGHT: f64 = 527.0;

/// A self-contained HTML document: no scripts, no links but those within it, nothing to load.
#[derive(Debug, Clone, Default)]
pub struct Page {
    title: String,
    summary: Vec<String>,
    figures: Vec<(String, String)>,
    sections: Vec<Section>,
}

impl Page {
    /// A page without content.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Adds a paragraph below the title: what the page says, in words.
    #[must_use]
    pub fn summary(mut self, paragraph: impl Into<String>) -> Self {
        self.summary.push(paragraph.into());
        self
    }

    /// Adds a figure to those that stand out below the summary.
    #[must_use]
    pub fn key_figure(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.figures.push((label.into(), value.into()));
        self
    }

    /// Adds a section, which is also a line of the table of contents.
    #[must_use]
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// The document.
    pub fn to_html(&self) -> String {
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { (self.title) }
                        @for paragraph in &self.summary { p { (paragraph) } }
                        @if !self.figures.is_empty() {
                            dl.figures {
                                @for (label, value) in &self.figures {
                                    div { dt { (label) } dd { (value) } }
                                }
                            }
                        }
                    }
                    @if self.sections.len() > 1 {
                        nav aria-label="Contents" {
                            ol {
                                @for (index, section) in self.sections.iter().enumerate() {
                                    li { a href={ "#section-" (index + 1) } { (section.title) } }
                                }
                            }
                        }
                    }
                    main {
                        @for (index, section) in self.sections.iter().enumerate() {
                            section id={ "section-" (index + 1) } {
                                h2 { (section.title) }
                                (section.body(if section.is_tall() { UPRIGHT } else { ACROSS }))
                            }
                        }
                    }
                }
            }
        };
        document.into_string()
    }
}

/// A title and what stands under it, in the order in which it is added.
#[derive(Debug, Clone, Default)]
pub struct Section {
    title: String,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
enum Block {
    Prose(String),
    Chart { svg: Svg, caption: String },
    Table { view: TableView, caption: String },
    Details(Section),
}

impl Section {
    /// A section without content.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), blocks: Vec::new() }
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn prose(self, paragraph: impl Into<String>) -> Self {
        self.block(Block::Prose(paragraph.into()))
    }

    /// Adds a chart and a caption, which may be empty. Charts that follow one another stand side by
    /// side where they fit.
    #[must_use]
    pub fn chart(self, svg: Svg, caption: impl Into<String>) -> Self {
        self.block(Block::Chart { svg, caption: caption.into() })
    }

    /// Adds a table, which may be a [`&Table`](crate::Table) as it is, and a caption, which may be empty.
    #[must_use]
    pub fn table(self, table: impl Into<TableView>, caption: impl Into<String>) -> Self {
        self.block(Block::Table { view: table.into(), caption: caption.into() })
    }

    /// Adds a part that is folded up until it is opened, and not printed unless it is: for one chart of many.
    #[must_use]
    pub fn details(self, section: Section) -> Self {
        self.block(Block::Details(section))
    }

    fn block(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    /// Whether it is printed upright.
    fn is_tall(&self) -> bool {
        self.blocks.iter().any(|block| match block {
            Block::Chart { svg, .. } => svg.height() > TALL,
            Block::Details(section) => section.is_tall(),
            Block::Prose(_) | Block::Table { .. } => false,
        })
    }

    /// What stands below the title; it is printed on a page that is `width` points wide.
    fn body(&self, width: f64) -> Markup {
        let is_chart = |block: &Block| matches!(block, Block::Chart { .. });
        html! {
            @for run in self.blocks.chunk_by(|a, b| is_chart(a) && is_chart(b)) {
                @match run {
                    [Block::Prose(paragraph)] => p { (paragraph) },
                    [Block::Table { view, caption }] => (view.markup(caption, width)),
                    [Block::Details(section)] => details {
                        summary { (section.title) }
                        (section.body(width))
                    },
                    charts => div.charts {
                        @for chart in charts {
                            @if let Block::Chart { svg, caption } = chart {
                                figure class=[(svg.height() > TALL).then_some("tall")] {
                                    (PreEscaped(svg.as_str()))
                                    @if !caption.is_empty() { figcaption { (caption) } }
                                }
                            }
                        }
                    },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::every_kind_of_cell;
    use crate::{HeatMap, XyChart};

    fn page() -> Page {
        let empty = XyChart::default().to_svg();
        let tall = HeatMap { rows: vec![String::new(); 40], ..HeatMap::default() }.to_svg();
        let inner = Section::new("<inner>").chart(empty.clone(), "<caption>");
        let section = Section::new("First <b>")
            .prose("a < b & c")
            .chart(empty.clone(), "")
            .chart(empty, "beside it")
            .table(&every_kind_of_cell(), "\"Cells\"")
            .details(inner);
        Page::new("<script>alert(1)</script>")
            .summary("\"quoted\" & <i>")
            .key_figure("<share>", "1 < 2")
            .section(section)
            .section(Section::new("Second").chart(tall, ""))
    }

    #[test]
    fn what_a_caller_writes_stays_text() {
        let html = page().to_html();
        for tag in ["<script", "<i>", "<b>", "<inner>", "<caption>a", "<share>", "<&>"] {
            assert!(!html.contains(tag), "{tag}");
        }
        assert!(html.contains("<title>&lt;script&gt;alert(1)&lt;/script&gt;</title>"));
        assert!(html.contains("<p>a &lt; b &amp; c</p>"));
        assert!(html.contains("aria-label=\"&quot;Cells&quot;\""));
    }

    #[test]
    fn nothing_is_loaded() {
        let html = page().to_html();
        for attribute in ["src=", "href=\"http", "url(", "@import", "<link", "<script"] {
            assert!(!html.contains(attribute), "{attribute}");
        }
    }

    #[test]
    fn contents_point_at_sections_and_charts_in_a_row_share_a_box() {
        let html = page().to_html();
        for (index, title) in ["First &lt;b&gt;", "Second"].iter().enumerate() {
            let number = index + 1;
            assert!(html.contains(&format!("<a href=\"#section-{number}\">{title}</a>")));
            assert!(html.contains(&format!("<section id=\"section-{number}\"><h2>{title}</h2>")));
        }
        assert_eq!(html.matches("<div class=\"charts\">").count(), 3); // two charts, one, and one
        assert_eq!(html.matches("<figure>").count(), 3);
        assert_eq!(html.matches("<figure class=\"tall\">").count(), 1);
    }

    #[test]
    fn equal_pages_are_equal_bytes() {
        assert_eq!(page().to_html(), page().to_html());
    }
}
