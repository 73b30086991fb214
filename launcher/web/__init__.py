"""The HTTP edge: BinderHub's API, the pages, the JSON API. Handlers are thin; nothing here decides."""
