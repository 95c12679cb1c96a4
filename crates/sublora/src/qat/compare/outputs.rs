//! The files of a comparison.

use std::path::Path;

use report::Table;

use super::QatComparison;
use crate::Error;
use crate::atomic::{self, FileError};

impl QatComparison {
    /// Writes `report.html` and the tables to `folder`, which is made if it is not there: all of them or
    /// none. Equal runs are equal bytes.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let files = [
            ("widths.csv", Table::from_rows(&self.widths)?.to_csv()?),
            ("differences.csv", Table::from_rows(&self.differences)?.to_csv()?),
            ("runs.csv", Table::from_rows(&self.run_rows())?.to_csv()?),
            ("report.html", self.page()?.to_html().into_bytes()),
        ];
        std::fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
        Ok(atomic::write_all(folder, &files)?)
    }
}
