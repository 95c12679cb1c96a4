//! A table as Parquet.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use crate::{Cell, Error, Kind, Table};

impl Table {
    /// One row group of optional columns: UTF-8 strings, `INT64`, `DOUBLE` and `BOOLEAN`, not
    /// compressed. The file names `report` as its creator and no version, and holds no time, so equal
    /// tables give equal bytes for as long as the `parquet` crate lays out its pages the same way.
    ///
    /// # Errors
    /// [`Error::Parquet`], which nothing that a table holds causes.
    pub fn to_parquet(&self) -> Result<Vec<u8>, Error> {
        let fields: Result<Vec<_>, _> =
            self.columns().iter().map(|it| field(&it.name, it.kind)).collect();
        let schema = Type::group_type_builder("schema").with_fields(fields?).build()?;
        let properties = WriterProperties::builder().set_created_by("report".to_owned()).build();
        let mut file =
            SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
        let mut group = file.next_row_group()?;
        for (index, column) in self.columns().iter().enumerate() {
            let cells = || self.rows().iter().map(move |row| &row[index]);
            let mut writer = group
                .next_column()?
                .ok_or_else(|| ParquetError::General("fewer columns than the schema".to_owned()))?;
            match column.kind {
                Kind::Text => write(writer.typed::<ByteArrayType>(), cells(), |cell| match cell {
                    Cell::Text(text) => Some(ByteArray::from(text.as_str())),
                    _ => None,
                }),
                Kind::Integer => write(writer.typed::<Int64Type>(), cells(), |cell| match cell {
                    Cell::Integer(value) => Some(*value),
                    _ => None,
                }),
                Kind::Float => write(writer.typed::<DoubleType>(), cells(), |cell| match cell {
                    Cell::Float(value) => Some(*value),
                    _ => None,
                }),
                Kind::Boolean => write(writer.typed::<BoolType>(), cells(), |cell| match cell {
                    Cell::Boolean(value) => Some(*value),
                    _ => None,
                }),
            }?;
            writer.close()?;
        }
        group.close()?;
        Ok(file.into_inner()?)
    }
}

fn field(name: &str, kind: Kind) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Integer => (Physical::INT64, None),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Boolean => (Physical::BOOLEAN, None),
    };
    let builder = Type::primitive_type_builder(name, physical).with_logical_type(logical);
    Ok(Arc::new(builder.with_repetition(Repetition::OPTIONAL).build()?))
}

/// Writes the values that `value` finds, and where it finds none.
fn write<'a, D: DataType>(
    writer: &mut ColumnWriterImpl<'_, D>,
    cells: impl Iterator<Item = &'a Cell> + Clone,
    value: impl Fn(&Cell) -> Option<D::T>,
) -> Result<(), ParquetError> {
    let defined: Vec<i16> = cells.clone().map(|cell| i16::from(*cell != Cell::Empty)).collect();
    let values: Vec<D::T> = cells.filter_map(value).collect();
    writer.write_batch(&values, Some(&defined), None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    use super::*;
    use crate::testing::every_kind_of_cell;

    #[test]
    fn what_is_read_back_is_what_was_written() {
        let table = every_kind_of_cell();
        let reader = SerializedFileReader::new(Bytes::from(table.to_parquet().unwrap())).unwrap();
        let mut rows = Vec::new();
        for row in reader.get_row_iter(None).unwrap() {
            let cells = row.unwrap().into_columns().into_iter().map(|(name, field)| {
                let cell = match field {
                    Field::Null => Cell::Empty,
                    Field::Str(text) => Cell::Text(text),
                    Field::Long(value) => Cell::Integer(value),
                    Field::Double(value) => Cell::Float(value),
                    Field::Bool(value) => Cell::Boolean(value),
                    other => panic!("`{name}` holds {other:?}"),
                };
                (name, cell)
            });
            rows.push(cells.collect::<Vec<_>>());
        }
        let names = |row: &[Cell]| {
            let names = table.columns().iter().map(|column| column.name.clone());
            names.zip(row.iter().cloned()).collect::<Vec<_>>()
        };
        let expected: Vec<_> = table.rows().iter().map(|row| names(row)).collect();
        assert_eq!(format!("{rows:?}"), format!("{expected:?}")); // NaN is equal to itself, in words
        let metadata = reader.metadata().file_metadata();
        assert_eq!(metadata.created_by(), Some("report"));
        assert_eq!(metadata.num_rows(), 5);
    }

    #[test]
    fn equal_tables_give_equal_bytes() {
        let [one, other] = [0, 1].map(|_| every_kind_of_cell().to_parquet().unwrap());
        assert_eq!(one, other);
    }

    #[test]
    fn a_table_without_rows_keeps_its_schema() {
        let columns = every_kind_of_cell().columns().to_vec();
        let bytes = Table::new(columns).unwrap().to_parquet().unwrap();
        let reader = SerializedFileReader::new(Bytes::from(bytes)).unwrap();
        let schema = reader.metadata().file_metadata().schema_descr();
        assert_eq!(schema.num_columns(), 4);
        assert_eq!(schema.column(2).physical_type(), Physical::DOUBLE);
    }
}
