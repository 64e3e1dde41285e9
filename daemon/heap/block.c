#include "daemon/heap/block.h"

#include <glib.h>
#include <string.h>

#define FORBIDDEN     0xFD
#define FORBIDDEN_OLD 0xFB

bool block_is_hooked(const uint8_t *block)
{
	uint8_t forbidden = block[9];
	if (forbidden != FORBIDDEN && forbidden != FORBIDDEN_OLD)
		return false;
	for (int i = 9; i < BLOCK_HOOK_PREFIX; i++) {
		if (block[i] != forbidden)
			return false;
	}
	return block[8] == 'o' || block[8] == 'm' || block[8] == 'r';
}

void block_visit_one(block_visit *visit, void *context, const struct block *block)
{
	visit(context, &(struct blocks){.first = *block, .offsets = &(uint32_t){0}, .n = 1});
}

void block_visit_many(block_visit *visit, void *context, const struct blocks *blocks)
{
	struct blocks some = *blocks;
	for (size_t i = 0; i < blocks->n; i += some.n) {
		some.offsets = blocks->offsets + i;
		some.n = MIN(blocks->n - i, BLOCKS_MOST);
		visit(context, &some);
	}
}

void block_vote(void *votes, const struct blocks *blocks)
{
	struct block_votes *count = votes;
	for (size_t i = 0; i < blocks->n && blocks->first.size >= BLOCK_HOOK_PREFIX + BLOCK_HOOK_SUFFIX; i++) {
		if (block_is_hooked(blocks->first.bytes + blocks->offsets[i]))
			count->hooked++;
		else
			count->plain++;
	}
}

bool block_unhook(struct block *block)
{
	uint64_t exact;
	if (block->size < BLOCK_HOOK_PREFIX + BLOCK_HOOK_SUFFIX || !block_is_hooked(block->bytes))
		return false;
	memcpy(&exact, block->bytes, sizeof(exact));
	exact = GUINT64_FROM_BE(exact);
	if (exact > block->size - BLOCK_HOOK_PREFIX - BLOCK_HOOK_SUFFIX)
		return false;
	if (block->domain == BLOCK_ANY)
		block->domain = block->bytes[8] == 'o' ? BLOCK_OBJECT : BLOCK_RAW;
	block->address += BLOCK_HOOK_PREFIX;
	block->bytes += BLOCK_HOOK_PREFIX;
	block->size = exact;
	return true;
}
