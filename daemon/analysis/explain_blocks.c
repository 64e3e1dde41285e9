/*
 * Whose memory a block of C code is: the object that has its address in its own struct, or in a block that is its own in turn; a module,
 * when it is the module's state.
 */
#include <stdlib.h>

#include "daemon/analysis/explain_private.h"

#define MAX_DEPTH 4 /* blocks from one to the next up to the object */

static int compare_start(const void *a, const void *b)
{
	const struct owned_block *x = a, *y = b;
	return (x->start > y->start) - (x->start < y->start);
}

static struct owned_block *find(const struct explaining *explaining, uint64_t start)
{
	struct owned_block key = {.start = start};
	GArray *blocks = explaining->blocks;
	return blocks->len ? bsearch(&key, blocks->data, blocks->len, sizeof(key), compare_start) : NULL;
}

/* The block that a pointer is to: it may lead behind the prefix of a debug hook. */
static struct owned_block *pointed_at(const struct explaining *explaining, uint64_t word)
{
	const GArray *blocks = explaining->blocks;
	if (word < g_array_index(blocks, struct owned_block, 0).start ||
	    word > g_array_index(blocks, struct owned_block, blocks->len - 1).start + BLOCK_HOOK_PREFIX)
		return NULL;
	struct owned_block *block = find(explaining, word);
	return block || !explaining->audit->owners.allocator.debug_hooks ? block
									 : find(explaining, word - BLOCK_HOOK_PREFIX);
}

static void visit_struct(void *context, const struct reference *reference)
{
	struct explaining *explaining = context;
	struct owned_block *block = reference->probable ? pointed_at(explaining, reference->target) : NULL;
	if (block && block->owner == TABLE_NONE)
		block->owner = explaining->current;
}

static void visit_word(void *context, uint64_t address, uint64_t word)
{
	struct explaining *explaining = context;
	struct owned_block *block = pointed_at(explaining, word);
	uint64_t start, end;
	if (block && block->owner == TABLE_NONE && !block->parent &&
	    owners_block_at(&explaining->audit->owners, address, &start, &end) && start != block->start)
		block->parent = start;
}

static void add(struct explaining *explaining, GArray *to, uint64_t address)
{
	struct owned_block block = {.owner = TABLE_NONE};
	uint64_t module = explain_module_at(explaining, address);
	if (!owners_block_at(&explaining->audit->owners, address, &block.start, &block.end))
		return;
	if (module)
		block.owner = table_find(&explaining->audit->table, module);
	g_array_append_val(to, block);
}

/* Sort, and leave each block there once. */
static void settle(GArray *blocks)
{
	guint n = 0;
	g_array_sort(blocks, compare_start);
	for (guint i = 0; i < blocks->len; i++) {
		struct owned_block block = g_array_index(blocks, struct owned_block, i);
		if (!n || g_array_index(blocks, struct owned_block, n - 1).start != block.start)
			g_array_index(blocks, struct owned_block, n++) = block;
	}
	g_array_set_size(blocks, n);
}

static void look(struct explaining *explaining)
{
	audit_t *audit = explaining->audit;
	references_begin(audit->references, visit_struct, NULL, explaining);
	for (size_t i = 0; i < audit->table.n; i++) {
		struct object object;
		explaining->current = (uint32_t)i;
		if (object_at(audit->heap, audit->table.objects[i].address, &object))
			references_of_object(audit->references, &object);
	}
	for (size_t i = 0; i < audit->owners.cover.n; i++)
		cover_walk(&audit->owners.cover, &audit->owners.cover.regions[i], visit_word, explaining);
}

/* The blocks that hold blocks without an owner: they are looked for next. False: there are none that are new. */
static bool climb(struct explaining *explaining)
{
	g_autoptr(GArray) parents = g_array_new(FALSE, FALSE, sizeof(struct owned_block));
	for (guint i = 0; i < explaining->blocks->len; i++) {
		const struct owned_block *block = &g_array_index(explaining->blocks, struct owned_block, i);
		if (block->owner == TABLE_NONE && block->parent && !find(explaining, block->parent))
			add(explaining, parents, block->parent);
	}
	g_array_append_vals(explaining->blocks, parents->data, parents->len);
	settle(explaining->blocks);
	return parents->len > 0;
}

void explain_find_blocks(struct explaining *explaining)
{
	g_array_set_size(explaining->blocks, 0);
	for (guint i = 0; i < explaining->asked->len; i++) {
		const GArray *all = g_array_index(explaining->asked, struct asked, i).found;
		for (guint k = 0; k < all->len; k++) {
			const struct found *found = &g_array_index(all, struct found, k);
			if (found->searched && found->reference.kind == REFERENCE_MEMORY_BLOCK)
				add(explaining, explaining->blocks, found->reference.word);
		}
	}
	settle(explaining->blocks);
	for (size_t depth = 0; explaining->blocks->len && depth < MAX_DEPTH; depth++) {
		look(explaining);
		if (!climb(explaining))
			return;
	}
}

uint32_t explain_block_owner(const struct explaining *explaining, uint64_t address)
{
	uint64_t start, end;
	if (!explaining->blocks->len || !owners_block_at(&explaining->audit->owners, address, &start, &end))
		return TABLE_NONE;
	const struct owned_block *block = find(explaining, start);
	for (size_t depth = 0; block && depth < MAX_DEPTH && block->owner == TABLE_NONE; depth++)
		block = block->parent ? find(explaining, block->parent) : NULL;
	return block ? block->owner : TABLE_NONE;
}
