//! A table as JSON.

use serde_json::Value;

use crate::{Cell, Table, spell};

impl Table {
    /// An array with an object a row, each on its own line, its keys in the order of the columns. An
    /// empty cell is `null`. JSON has no NaN and no infinities: they are the strings `"nan"`, `"inf"`
    /// and `"-inf"`, so that a value that went wrong stays apart from one that is absent.
    pub fn to_json(&self) -> String {
        let keys: Vec<Value> = self.columns().iter().map(|it| it.name.as_str().into()).collect();
        let row = |cells: &Vec<Cell>| {
            let entry = |(key, cell)| format!("{key}:{}", value(cell));
            let entries: Vec<String> = keys.iter().zip(cells).map(entry).collect();
            format!("{{{}}}", entries.join(","))
        };
        let rows: Vec<String> = self.rows().iter().map(row).collect();
        format!("[\n{}\n]\n", rows.join(",\n"))
    }
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Empty => Value::Null,
        Cell::Text(text) => text.as_str().into(),
        Cell::Integer(value) => (*value).into(),
        Cell::Float(value) if value.is_finite() => (*value).into(),
        Cell::Float(value) => spell(*value).into(),
        Cell::Boolean(value) => (*value).into(),
    }
}

#[cfg(test)]
mod tests {
    use crate::Table;
    use crate::testing::every_kind_of_cell;

    #[test]
    fn bytes_by_hand() {
        let expected = r#"[
{"name":"a, \"b\"","count":-3,"value":0.1,"flag":true},
{"name":"<&>","count":9007199254740993,"value":"nan","flag":false},
{"name":null,"count":null,"value":"inf","flag":null},
{"name":"é","count":0,"value":"-inf","flag":null},
{"name":"x","count":1,"value":1e-7,"flag":null}
]
"#;
        assert_eq!(every_kind_of_cell().to_json(), expected);
        let parsed: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(parsed[1]["count"], 9_007_199_254_740_993_i64); // 2^53 + 1
    }

    #[test]
    fn no_rows_are_an_empty_array() {
        let json = Table::new(vec![]).unwrap().to_json();
        assert_eq!(serde_json::from_str::<Vec<()>>(&json).unwrap(), []);
    }
}
