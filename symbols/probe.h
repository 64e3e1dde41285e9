/*
 * Fields deep inside PyInterpreterState that neither _Py_DebugOffsets nor a validated neighbour vouches for: they move
 * whenever a release inserts something before them. Where a table is not exactly the interpreter's, look at what is
 * there.
 */
#pragma once
#include "symbols/interpreter.h"

/* Correct found->layout where the process shows that it is off by a few words. Leaves alone what can't be told. */
void layout_probe(struct interpreter *found, const struct interpreter_access *access);
