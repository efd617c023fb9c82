// SPDX-License-Identifier: GPL-2.0
/*
 * From a user's iterator to a mapped scatter-gather list, and back
 */
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "compat.h"
#include "zcdma.h"

/*
 * The iterator and its iovecs live on the submitter's stack (fs/aio.c
 * aio_read: inline_vecs), so everything is taken out of it here.
 */
static unsigned int zc_count_pages(const struct iov_iter *from, u32 len)
{
	struct iov_iter iter = *from;
	unsigned int pages = 0;

	iov_iter_advance(&iter, 0);	/* over leading empty segments */
	while (len) {
		u32 bytes = min_t(size_t, len, iov_iter_single_seg_count(&iter));
		unsigned long addr = zc_iter_addr(&iter);

		if (!bytes)
			break;
		pages += DIV_ROUND_UP(offset_in_page(addr) + (unsigned long)bytes, PAGE_SIZE);
		len -= bytes;
		iov_iter_advance(&iter, bytes);
	}
	return pages;
}

/* Appends @bytes of @page, into the last entry where memory is contiguous. */
static struct scatterlist *zc_append(struct zc_req *req, struct scatterlist *last,
				     struct page *page, u32 offset, u32 bytes)
{
	struct scatterlist *sg = req->sgt.sgl;

	if (last && !offset && last->length <= ZC_SEGMENT_BYTES - bytes &&
	    page_to_phys(page) == page_to_phys(sg_page(last)) + last->offset + last->length) {
		last->length += bytes;
		return last;
	}
	if (last)
		sg = sg_next(last);
	sg_set_page(sg, page, bytes, offset);
	req->sgt.nents++;
	return sg;
}

static int zc_alloc_lists(struct zc_req *req, unsigned int pages)
{
	req->pages = req->inline_pages;
	if (pages <= ZC_INLINE_PAGES) {
		sg_init_table(req->inline_sg, pages);
		req->sgt.sgl = req->inline_sg;
		req->sgt.orig_nents = pages;
		return 0;
	}
	req->pages = kmalloc_array(pages, sizeof(*req->pages), GFP_KERNEL);
	if (!req->pages)
		return -ENOMEM;
	if (sg_alloc_table(&req->sgt, pages, GFP_KERNEL)) {
		kfree(req->pages);
		req->pages = NULL;
		return -ENOMEM;
	}
	return 0;
}

static void zc_free_lists(struct zc_req *req)
{
	if (!req->pages || req->pages == req->inline_pages)
		return;
	/* sg_free_table() walks what was allocated, not what was used */
	req->sgt.orig_nents = req->nr_pages;
	sg_free_table(&req->sgt);
	kfree(req->pages);
	req->pages = NULL;
}

/*
 * Pins the user's pages and lists them for the bus.  On an error what was
 * pinned stays in req->pages[0..nr_pinned) for zc_unpin().  A request that
 * needs more pages than the limit becomes a shorter one.
 */
int zc_pin(struct zc_req *req, struct iov_iter *iter)
{
	unsigned int limit = min_t(u32, req->dev->size, ZC_MAX_PAGES);
	unsigned int gup_flags = req->to_device ? 0 : FOLL_WRITE;
	struct scatterlist *last = NULL;
	u32 left = req->len;
	unsigned int pages;
	int err;

	pages = min(zc_count_pages(iter, left), limit);
	if (!pages)
		return -EFAULT;
	err = zc_alloc_lists(req, pages);
	if (err)
		return err;
	req->nr_pages = pages;
	req->sgt.nents = 0;

	iov_iter_advance(iter, 0);
	while (left && req->nr_pinned < pages) {
		u32 bytes = min_t(size_t, left, iov_iter_single_seg_count(iter));
		unsigned long addr = zc_iter_addr(iter);
		u32 offset = offset_in_page(addr);
		unsigned int want = DIV_ROUND_UP(offset + (unsigned long)bytes, PAGE_SIZE);
		struct page **at = req->pages + req->nr_pinned;
		int i, got;

		if (want > pages - req->nr_pinned) {
			want = pages - req->nr_pinned;
			bytes = want * PAGE_SIZE - offset;
		}
		got = pin_user_pages_fast(addr & PAGE_MASK, want, gup_flags, at);
		if (got > 0) {
			req->nr_pinned += got;
			atomic_long_add(got, &req->dev->pinned_pages);
		}
		if (got != (int)want)
			return got < 0 ? got : -EFAULT;
		iov_iter_advance(iter, bytes);
		left -= bytes;
		for (i = 0; i < got; i++) {
			u32 part = min_t(u32, bytes, PAGE_SIZE - offset);

			last = zc_append(req, last, at[i], offset, part);
			bytes -= part;
			offset = 0;
		}
	}
	req->len -= left;
	sg_mark_end(last);
	req->sgt.orig_nents = req->sgt.nents;

	/*
	 * As bio_set_pages_dirty() before and bio_check_pages_dirty() after a
	 * read: the device's bytes must not be lost to a clean page's reclaim,
	 * and write-back may clean the page in between.
	 */
	if (!req->to_device)
		zc_redirty(req);
	return 0;
}

int zc_map(struct zc_req *req)
{
	int err = dma_map_sgtable(req->dev->dma_dev, &req->sgt,
				  req->to_device ? DMA_TO_DEVICE : DMA_FROM_DEVICE, 0);

	if (err)
		return err;
	req->mapped = true;
	req->count = req->sgt.nents;
	atomic_long_add(req->count, &req->dev->mapped_descs);
	return 0;
}

/* The engine is done with the memory: its status or its stop says so. */
void zc_unmap(struct zc_req *req)
{
	if (!req->mapped)
		return;
	req->mapped = false;
	dma_unmap_sgtable(req->dev->dma_dev, &req->sgt,
			  req->to_device ? DMA_TO_DEVICE : DMA_FROM_DEVICE, 0);
	atomic_long_sub(req->count, &req->dev->mapped_descs);
}

/* Any context. */
bool zc_lost_dirty(struct zc_req *req)
{
	unsigned int i;

	if (req->to_device || req->result <= 0)
		return false;
	for (i = 0; i < req->nr_pinned; i++)
		if (!zc_page_dirty(req->pages[i]))
			return true;
	return false;
}

/* Sleeps: set_page_dirty_lock() takes the page lock. */
void zc_redirty(struct zc_req *req)
{
	unsigned int i;

	for (i = 0; i < req->nr_pinned; i++)
		if (!zc_page_dirty(req->pages[i]))
			set_page_dirty_lock(req->pages[i]);
}

/* Any context. */
void zc_unpin(struct zc_req *req)
{
	if (req->nr_pinned)
		unpin_user_pages(req->pages, req->nr_pinned);
	atomic_long_sub(req->nr_pinned, &req->dev->pinned_pages);
	req->nr_pinned = 0;
	zc_free_lists(req);
}
