//! The attributes in code of edition 2021.

#[cfg(test)]
#[path = "../../shapes.rs"]
mod shapes;
