use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use task_lifecycle::{Revision, Status};

/// A part of a task in a column.
pub struct Column<T>(pub T);

impl ToSql for Column<Status> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_str().into())
    }
}

impl FromSql for Column<Status> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let status = value.as_str()?.parse();
        status.map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for Column<Revision> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_i64().into())
    }
}

impl FromSql for Column<Revision> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(Revision::from_i64(value.as_i64()?)))
    }
}
