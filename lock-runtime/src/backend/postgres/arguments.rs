//! A call of a function as it is written down, argument by argument.

use std::fmt::Write;

use crate::name::LockName;

/// The arguments of a call, as they are written down.
pub(super) struct Arguments<'a> {
    sql: &'a mut String,
    schema: &'a str,
    is_first: bool,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(sql: &'a mut String, schema: &'a str) -> Self {
        Self {
            sql,
            schema,
            is_first: true,
        }
    }

    pub(super) fn function(&mut self, name: &str) -> &mut Self {
        let schema = self.schema;
        self.push(&format!("SELECT {schema}.{name}("))
    }

    pub(super) fn foreign(&mut self, name: &str) -> &mut Self {
        self.push(&format!("SELECT {name}("))
    }

    pub(super) fn end(&mut self) {
        self.sql.push_str(");");
    }

    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.sql.push_str(text);
        self
    }

    fn next(&mut self) -> &mut String {
        if !self.is_first {
            self.sql.push(',');
        }
        self.is_first = false;
        self.sql
    }

    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.next().push_str(text);
        self
    }

    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        self.raw(if flag { "true" } else { "false" })
    }

    pub(super) fn number(&mut self, number: impl Into<i128>) -> &mut Self {
        // Writing to a string does not fail.
        let _written = write!(self.next(), "{}", number.into());
        self
    }

    pub(super) fn name(&mut self, name: &LockName) -> &mut Self {
        self.text(name.namespace()).text(name.as_str())
    }

    pub(super) fn optional_number(&mut self, number: Option<u64>) -> &mut Self {
        match number {
            Some(number) => self.number(number),
            None => self.raw("NULL"),
        }
    }

    pub(super) fn optional(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.raw("NULL"),
        }
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        quote(self.next(), text);
        self
    }
}

/// Writes a text as a literal that means the same whatever `standard_conforming_strings` is.
pub(super) fn quote(sql: &mut String, text: &str) {
    sql.push_str("E'");
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            sql.push(c);
        }
        sql.push(c);
    }
    sql.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_where_they_should() {
        let mut sql = String::new();
        quote(&mut sql, r"it's \'; DROP TABLE x; -- \");
        assert_eq!(sql, r"E'it''s \\''; DROP TABLE x; -- \\'");
    }
}
