/*
 * A connection to the socket. What comes in is foreign: lines are bounded, a line that isn't finished has a deadline, and who doesn't
 * read what they asked for is dropped when too much waits for them.
 */
#pragma once
#include "daemon/server/server_private.h"

#define CLIENT_LINE    65536              /* bytes of a request at most */
#define CLIENT_WAITING (16 * 1024 * 1024) /* bytes that may wait to be read by a peer */
#define CLIENT_LATE    (1024 * 1024)      /* with so many waiting it misses samples */
#define CLIENTS        128                /* connections at most, */
#define CLIENTS_A_USER 48                 /* and of one user */
#define CLIENT_LINE_S  10                 /* a line must be finished within */
#define CLIENT_ANSWER  (12 * 1024 * 1024) /* bytes of the answer to a question at most */

struct subscription {
	struct subject *subject;
	int64_t interval_us;
};

struct client {
	struct server *server;
	int fd;
	uid_t uid;
	guint in_source, out_source, deadline, resume;
	GString *in, *out;
	gsize sent;            /* of out */
	GArray *subscriptions; /* struct subscription */
	gboolean closing;      /* when all is sent */
	gboolean waiting;      /* for the answer to a question: nothing is read until then */
};

/* The answer it waited for, as a line; what else it has sent is gone on with. */
void client_answer(struct client *client, const char *line, gsize size);

/* Send a line (with its newline). */
void client_send(struct client *client, const char *line, gsize size);
/* The shortest interval that viewers of the subject want. */
void client_update_interval(struct server *server, struct subject *subject);

/* protocol.c: the first line, and the answer to one of the peer's, as a line; NULL: it comes later. `line` is any bytes. */
GString *protocol_hello(struct client *client);
GString *protocol_answer(struct client *client, const char *line, gsize size);
/* `result` is JSON, with or without a newline; taken over. */
GString *protocol_acceptance(const char *id, GString *result);
/* "sample" and "ended" of a subscription */
GString *protocol_event(const struct subject *subject, const char *sample_json);
GString *protocol_refusal(const char *id, int code, const char *message);
/* The same, of what was learnt from the process: asking elsewhere wouldn't help. */
GString *protocol_denial(const char *id, int code, const char *message);
