//! Nothing: the targets are the tests of this package.
