"""The portal's pages, one module for each noun. Each offers ``router``; `dsr_sdk.portal.app.ROUTERS` lists them."""
