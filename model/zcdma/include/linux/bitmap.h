/* SPDX-License-Identifier: GPL-2.0 */
/* Bits of a map, as <linux/bitmap.h> counts them */
#ifndef MODEL_LINUX_BITMAP_H
#define MODEL_LINUX_BITMAP_H

#include <linux/slab.h>

#define DECLARE_BITMAP(name, bits)	unsigned long name[((bits) + 63) / 64]

static inline unsigned int bitmap_weight(const unsigned long *map, unsigned int bits)
{
	unsigned int weight = 0;
	unsigned int i;

	for (i = 0; i < (bits + 63) / 64; i++)
		weight += (unsigned int)__builtin_popcountl(map[i]);
	return weight;
}

#endif
