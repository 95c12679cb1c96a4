//! Writes a page with every chart and a table to the file that is named on the command line:
//! `cargo run -p report --example gallery -- gallery.html`. All data are made up, and the same always.

mod allocation;
mod hard_cases;
mod precision;
mod spectra;

use std::{env, fs, io};

use report::{Error, Page};

fn main() -> io::Result<()> {
    let path = env::args().nth(1).unwrap_or_else(|| "gallery.html".to_owned());
    let page = page().map_err(io::Error::other)?;
    fs::write(path, page.to_html())
}

/// A number between -1 and 1 that looks like chance.
fn noise(index: usize) -> f64 {
    noise_at(index as f64)
}

fn noise_at(place: f64) -> f64 {
    (1e4 * (place + 1.0).sin()).fract()
}

fn page() -> Result<Page, Error> {
    let page = Page::new("Gallery of charts")
        .summary("Every chart on data that are made up. Of 48 matrices, 41 could be fitted.")
        .summary("The mean change of alpha is −0.03, which is within the noise floor.")
        .key_figure("matrices with alpha in [2, 6]", "40 of 41")
        .key_figure("mean change of alpha", "−0.03 [−0.11, 0.05]")
        .key_figure("rank correlation with the original", "0.81")
        .key_figure("collapsed", "7");
    let sections = allocation::sections()?.into_iter().chain([precision::section()]);
    let page = sections.chain(spectra::sections()?).fold(page, Page::section);
    Ok(page.section(hard_cases::section()?))
}
