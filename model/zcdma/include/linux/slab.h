/* SPDX-License-Identifier: GPL-2.0 */
/* Memory: objects of the schedule's arena, poisoned and never reused */
#ifndef MODEL_LINUX_SLAB_H
#define MODEL_LINUX_SLAB_H

#include <linux/types.h>

#define GFP_ATOMIC		0U
#define GFP_NOWAIT		GFP_ATOMIC
#define GFP_KERNEL		1U
#define SLAB_HWCACHE_ALIGN	0x2000U

struct kmem_cache;

#define kmem_cache_create(name, size, align, flags, ctor) at_cache_create(name, size)
#define kmem_cache_destroy(c)		at_cache_destroy(c, AT_HERE)
#define kmem_cache_alloc(c, gfp)	at_cache_alloc(c, gfp, AT_HERE)
#define kmem_cache_free(c, p)		at_cache_free(c, p, AT_HERE)
#define kmalloc(size, gfp)		at_kmalloc(size, #size, gfp, false, AT_HERE)
#define kzalloc(size, gfp)		at_kmalloc(size, #size, gfp, true, AT_HERE)
#define kmalloc_array(n, size, gfp)	at_kmalloc((n) * (size), #size, gfp, false, AT_HERE)
#define kcalloc(n, size, gfp)		at_kmalloc((n) * (size), #size, gfp, true, AT_HERE)
#define kvmalloc_array			kmalloc_array
#define kvcalloc			kcalloc
#define kvfree				kfree
#define kfree(p)			at_kfree(p, AT_HERE)
#define vzalloc(size)			at_vzalloc(size, #size, AT_HERE)
#define vfree(p)			at_vfree(p, AT_HERE)
#define bitmap_zalloc(n, gfp)		((unsigned long *)kcalloc(((n) + 63) / 64, 8, gfp))
#define bitmap_free(p)			kfree(p)
#define bitmap_zero(p, n)		memset(p, 0, ((n) + 63) / 64 * 8)

#endif
