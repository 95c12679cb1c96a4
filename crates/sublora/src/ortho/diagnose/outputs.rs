//! The files of a report.

use std::fs;
use std::path::Path;

use super::{DiagnoseError, OrthoReport};
use crate::{FileError, atomic};

impl OrthoReport {
    /// Writes `layers.csv`, `rules.csv`, `diagnosis.json` and `report.html` to `folder`. Equal results are equal
    /// bytes.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> Result<(), DiagnoseError> {
        fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
        let json = serde_json::json!(self);
        let files = [
            ("layers.csv", self.layer_table()?.to_csv()?),
            ("rules.csv", self.rule_table()?.to_csv()?),
            ("diagnosis.json", format!("{json:#}\n").into_bytes()),
            ("report.html", self.page()?.to_html().into_bytes()),
        ];
        Ok(atomic::write_all(folder, &files)?)
    }
}
