//! The files of a report.

use std::fs;
use std::path::Path;

use super::{SpectralError, SpectralReport, tables};
use crate::{FileError, atomic};

impl SpectralReport {
    /// Writes `spectral.csv`, `.json` and `.parquet` (a row a matrix and variant), `coverage.csv` (a row a
    /// tensor), `summary.json` and `report.html` to `folder`. Equal results are equal bytes.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> Result<(), SpectralError> {
        fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
        let rows = tables::matrices(&self.matrices)?;
        let coverage = tables::coverage(&self.coverage)?;
        let summary = serde_json::json!({
            "checkpoint": self.checkpoint,
            "settings": self.study,
            "summary": self.summary,
        });
        let files = [
            ("spectral.csv", rows.to_csv()?),
            ("spectral.json", rows.to_json().into_bytes()),
            ("spectral.parquet", rows.to_parquet()?),
            ("coverage.csv", coverage.to_csv()?),
            ("summary.json", format!("{summary:#}\n").into_bytes()),
            ("report.html", self.page(&rows, &coverage)?.to_html().into_bytes()),
        ];
        for (name, bytes) in files {
            atomic::write(&folder.join(name), &bytes)?;
        }
        Ok(())
    }
}
