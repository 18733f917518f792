//! json-check
