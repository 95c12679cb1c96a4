//! The files of a report.

use std::path::Path;

use report::Table;

use super::SweepReport;
use crate::Error;
use crate::atomic::{self, FileError};

impl SweepReport {
    /// Writes `report.html`, `report.json` and the tables to `folder`, which is made if it is not there:
    /// all of them or none. Equal sweeps are equal bytes.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let json = serde_json::to_string_pretty(&self.summary());
        let json = json.map_err(|error| Error::config(&error))? + "\n";
        let files = [
            ("modes.csv", Table::from_rows(&self.modes)?.to_csv()?),
            ("parts.csv", Table::from_rows(&self.parts_rows())?.to_csv()?),
            ("groups.csv", Table::from_rows(&self.group_rows())?.to_csv()?),
            ("depth.csv", Table::from_rows(&self.depth_rows())?.to_csv()?),
            ("steps.csv", Table::from_rows(&self.step_rows())?.to_csv()?),
            ("report.json", json.into_bytes()),
            ("report.html", self.page()?.to_html().into_bytes()),
        ];
        std::fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
        Ok(atomic::write_all(folder, &files)?)
    }
}
