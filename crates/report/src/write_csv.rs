//! A table as CSV.

use crate::{Cell, Error, Table, spell};

impl Table {
    /// RFC 4180 with a header and line feeds, in UTF-8. A float has the digits that give it back
    /// exactly (`0.1`, `1e-7`), or is `nan`, `inf` or `-inf`; a boolean is `true` or `false`; an empty
    /// cell is nothing.
    ///
    /// # Errors
    /// [`Error::Csv`], which nothing that a table holds causes.
    pub fn to_csv(&self) -> Result<Vec<u8>, Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(self.columns().iter().map(|column| &column.name))?;
        for row in self.rows() {
            writer.write_record(row.iter().map(|cell| match cell {
                Cell::Empty => String::new(),
                Cell::Text(text) => text.clone(),
                Cell::Integer(value) => value.to_string(),
                Cell::Float(value) => spell(*value),
                Cell::Boolean(value) => value.to_string(),
            }))?;
        }
        writer.into_inner().map_err(|it| csv::Error::from(it.into_error()).into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::every_kind_of_cell;

    #[test]
    fn bytes_by_hand() {
        let expected = "name,count,value,flag\n\
            \"a, \"\"b\"\"\",-3,0.1,true\n\
            <&>,9007199254740993,nan,false\n\
            ,,inf,\n\
            é,0,-inf,\n\
            x,1,1e-7,\n";
        assert_eq!(String::from_utf8(every_kind_of_cell().to_csv().unwrap()).unwrap(), expected);
    }
}
