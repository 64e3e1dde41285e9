/* What the files of the types screen share. */
#pragma once
#include "tui/screens/screen.h"

void types_draw(struct screen *screen, struct frame *frame);
