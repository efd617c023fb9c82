/* SPDX-License-Identifier: GPL-2.0 */
/* Pages, user memory, scatter-gather lists, the bus.  A bus address is an address. */
#ifndef MODEL_LINUX_MM_H
#define MODEL_LINUX_MM_H

#include <linux/slab.h>

#define PAGE_SIZE		4096UL
#define PAGE_MASK		(~(PAGE_SIZE - 1))
#define offset_in_page(p)	((unsigned long)(p) & ~PAGE_MASK)
#define FOLL_WRITE		0x01

struct page;
struct device;

#define page_to_pfn(page)	((unsigned long)(page_to_phys(page) / PAGE_SIZE))
#define page_to_phys(page)		at_page_to_phys(page)
#define phys_to_virt(phys)		((void *)(unsigned long)(phys))
#define dma_to_phys(dev, bus)		((phys_addr_t)(bus))
#define pin_user_pages_fast(at, n, flags, pages) at_pin_user_pages(at, n, flags, pages, AT_HERE)
#define unpin_user_pages(pages, n)	at_unpin_user_pages(pages, n, AT_HERE)
#define unpin_user_page(p)	({ struct page *_page = (p); unpin_user_pages(&_page, 1); })
#define compound_head(page)		(page)
#define page_folio(page)		(page)
#define folio_test_dirty(page)		at_page_dirty(page)
#define PageReserved(page)		false
#define PageDirty(page)			at_page_dirty(page)
#define set_page_dirty_lock(page)	at_set_page_dirty_lock(page, AT_HERE)

struct scatterlist {
	struct page *page;
	unsigned int offset;
	unsigned int length;
	dma_addr_t dma_address;
	bool last;
};
struct sg_table {
	struct scatterlist *sgl;
	unsigned int nents;
	unsigned int orig_nents;
};

#define sg_page(sg)		((sg)->page)
#define sg_dma_address(sg)	((sg)->dma_address)
#define sg_dma_len(sg)		((sg)->length)
static inline struct scatterlist *sg_next(struct scatterlist *sg)
{
	return sg->last ? NULL : sg + 1;
}
static inline void sg_mark_end(struct scatterlist *sg)
{
	sg->last = true;
}
static inline void sg_init_table(struct scatterlist *sg, unsigned int nents)
{
	memset(sg, 0, sizeof(*sg) * nents);
	sg_mark_end(&sg[nents - 1]);
}
static inline void sg_set_page(struct scatterlist *sg, struct page *page,
			       unsigned int len, unsigned int offset)
{
	sg->page = page;
	sg->offset = offset;
	sg->length = len;
}
static inline int sg_alloc_table(struct sg_table *table, unsigned int nents, gfp_t gfp)
{
	table->sgl = kmalloc_array(nents, sizeof(*table->sgl), gfp);
	if (!table->sgl)
		return -ENOMEM;
	sg_init_table(table->sgl, nents);
	table->nents = table->orig_nents = nents;
	return 0;
}
static inline void sg_free_table(struct sg_table *table)
{
	kfree(table->sgl);
	table->sgl = NULL;
}
#define for_each_sgtable_dma_sg(sgt, sg, i)				\
	for (i = 0, sg = (sgt)->sgl; i < (sgt)->nents; i++, sg = sg_next(sg))

enum dma_data_direction { DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE };
#define DMA_BIT_MASK(n)		((n) == 64 ? ~0ULL : (1ULL << (n)) - 1)
#define dma_coerce_mask_and_coherent(dev, mask) 0
#define dma_alloc_coherent(dev, size, bus, gfp) at_dma_alloc(size, bus, gfp, AT_HERE)
#define dma_free_coherent(dev, size, p, bus)	at_kfree(p, AT_HERE)

static inline int at_dma_map(struct sg_table *sgt, enum dma_data_direction dir, AT_WHERE)
{
	struct scatterlist *sg;
	unsigned int i;

	if (at_allocation_fails("dma_map_sgtable", AT_PASS))
		return -EIO;
	for_each_sgtable_dma_sg(sgt, sg, i) {
		sg->dma_address = page_to_phys(sg->page) + sg->offset;
		at_page_map(sg->page, dir == DMA_FROM_DEVICE, AT_PASS);
	}
	return 0;
}
static inline void at_dma_unmap(struct sg_table *sgt, enum dma_data_direction dir, AT_WHERE)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i)
		at_page_unmap(sg->page, dir == DMA_FROM_DEVICE, AT_PASS);
}
#define dma_map_sgtable(dev, sgt, dir, attrs)	at_dma_map(sgt, dir, AT_HERE)
#define dma_unmap_sgtable(dev, sgt, dir, attrs)	at_dma_unmap(sgt, dir, AT_HERE)

/* linux/uio.h, with what fs/aio.c of 6.1 hands over: one ITER_IOVEC segment */
struct iovec {
	void __user *iov_base;
	size_t iov_len;
};
struct iov_iter {
	const struct iovec *iov;
	size_t iov_offset;
	size_t count;
	void __user *ubuf;
};
#define user_backed_iter(i)		true
#define iter_is_iovec(i)		true
#define iter_is_ubuf(i)			false
#define iov_iter_count(i)		((i)->count)
static inline size_t iov_iter_single_seg_count(const struct iov_iter *i)
{
	return min(i->count, i->iov->iov_len - i->iov_offset);
}
static inline void iov_iter_advance(struct iov_iter *i, size_t bytes)
{
	i->iov_offset += bytes;
	i->count -= bytes;
}

#endif
