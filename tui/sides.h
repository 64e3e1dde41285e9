/*
 * A sample to compare with another one, by what a person calls it: a process (`pid:1234`, or `1234` where no file is called so), what the
 * daemon remembers of one (`1234@14:05`), a core file or an image that `reftop save` wrote, or a sample in a file (daemon/store/reference.h).
 *
 * All sides are opened before the first is taken, so that samples of two processes are close to each other in time.
 */
#pragma once
#include "daemon/source/source.h"
#include "tui/command.h"

struct side {
	char *name;       /* escaped */
	char *when;       /* of a process: what follows the @; NULL: now */
	source_t *source; /* NULL: of a file of samples, then */
	sample_t *sample; /* is there already */
};

/* Errors: USAGE where it can't be the name of anything; as source_live_new(), source_file_new(), sample_by_reference(). Clear it in any case. */
gboolean side_open(struct side *side, const struct command *command, const struct options *options,
		   const char *reference, GError **error);
/* The sample, owned by the side. Errors as source_next(). A sample that was skipped is none. */
sample_t *side_take(struct side *side, GError **error);
void side_clear(struct side *side);
