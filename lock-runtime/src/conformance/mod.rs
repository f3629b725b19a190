//! The public suite that checks a backend against every promise.
