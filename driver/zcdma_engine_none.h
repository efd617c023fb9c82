/* SPDX-License-Identifier: GPL-2.0 */
/* In place of zcdma_engine_edu.c where there is no PCI: there are no cards. */
#ifndef ZCDMA_ENGINE_NONE_H
#define ZCDMA_ENGINE_NONE_H

#include <linux/types.h>

#include "zcdma_regs.h"

static const struct zcdma_engine_ops zcdma_engine_edu = { .name = "none" };

static inline struct device *zcdma_edu_card(unsigned int card)
{
	return NULL;
}

static inline int zcdma_edu_init(void (*on_removal)(unsigned int card))
{
	return -ENODEV;
}

static inline void zcdma_edu_exit(void)
{
}

#endif /* ZCDMA_ENGINE_NONE_H */
