package registry

import (
	"context"
	"strconv"

	"github.com/tidewaiter/tidewaiter"
)

// Pager counts the pages of one listing and finds those that lead nowhere.
type Pager struct {
	pages int
	seen  map[tidewaiter.Digest]bool
	last  tidewaiter.Digest
}

// Page takes the query and the body of a page. It is TooLarge after
// [MaxPages], and Invalid if the query was asked for already or the page is the
// one before once more.
func (p *Pager) Page(query string, body []byte) error {
	if p.seen == nil {
		p.seen = make(map[tidewaiter.Digest]bool)
	}
	p.pages++
	asked, got := tidewaiter.DigestOf([]byte(query)), tidewaiter.DigestOf(body)
	switch {
	case p.pages > MaxPages:
		return failure(tidewaiter.TooLarge, ReasonLimit, "the registry's list has more than %d pages", MaxPages)
	case p.seen[asked]:
		return failure(tidewaiter.Invalid, ReasonAnswer, "the registry's list leads back to a page that was read already")
	case p.last == got && len(body) > 2:
		return failure(tidewaiter.Invalid, ReasonAnswer, "the registry gives the same page of its list again and again")
	}
	p.seen[asked], p.last = true, got
	return nil
}

// Numbered reads the pages of a list whose requests carry a number or an
// offset. query makes the query of page i, from 0. page takes a body and
// returns how many items it had, and how many there are in all or -1; it
// returns more=false to stop. The list ends with a page that has none, with the
// total (also X-Total-Count), or, where no total is told and no Link leads on,
// with a page of fewer than size.
func (c *Client) Numbered(ctx context.Context, q Request, size int, query func(i int) string, page func(body []byte) (items, total int, more bool, err error)) error {
	var pager Pager
	got := 0
	for i := 0; ; i++ {
		q.Query = query(i)
		body, header, err := c.Read(ctx, q, MaxAnswer)
		if err != nil {
			return err
		}
		items, total, more, err := page(body)
		if err != nil || !more || items == 0 {
			return err
		}
		if err := pager.Page(q.Query, body); err != nil {
			return err
		}
		got += items
		if n, err := strconv.Atoi(header.Get("X-Total-Count")); err == nil && total < 0 {
			total = n
		}
		_, linked := NextQuery(header)
		if total >= 0 && got >= total || total < 0 && !linked && items < size {
			return nil
		}
	}
}
