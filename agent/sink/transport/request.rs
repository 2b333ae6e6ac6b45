//! The request of a push, as Promtail makes it.

use super::USER_AGENT;
use super::proxy::Proxy;
use crate::sink::client_config::TENANT_HEADER;
use crate::sink::http_url::HttpUrl;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT as USER_AGENT_HEADER};
use hyper::{Method, Request, Uri};

/// All of a request that does not change from one to the next.
pub(super) struct Template {
    uri: Uri,
    headers: HeaderMap,
}

impl Template {
    /// For snappy blocks of Loki's push protocol.
    pub fn push(url: &HttpUrl, proxy: Option<&Proxy>, extra: &HeaderMap) -> Result<Template, String> {
        let mut template = Template::post(url, proxy, HeaderValue::from_static("application/x-protobuf"))?;
        for (name, value) in extra {
            // Those that are set here are not among the others: the configuration leaves them out.
            template.headers.insert(name, value.clone());
        }
        Ok(template)
    }

    pub fn post(url: &HttpUrl, proxy: Option<&Proxy>, content_type: HeaderValue) -> Result<Template, String> {
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&url.authority).map_err(|_| "the host fits into no header")?;
        headers.insert(HOST, host);
        headers.insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        headers.insert(CONTENT_TYPE, content_type);
        // A proxy is told the whole URL, unless it only tunnels.
        let target = match proxy {
            Some(proxy) if !url.https => {
                headers.extend(proxy.authorization().map(|value| (PROXY_AUTHORIZATION, value.clone())));
                format!("http://{}{}", url.authority, url.path)
            }
            _ => url.path.clone(),
        };
        let uri = target.parse().map_err(|_| "the URL fits into no request")?;
        Ok(Template { uri, headers })
    }

    /// # Errors
    ///
    /// A tenant that no header can hold.
    pub fn request(&self, tenant: &str, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if !tenant.is_empty() {
            let value = HeaderValue::from_str(tenant).map_err(|_| "no header of HTTP can hold the tenant")?;
            request.headers_mut().insert(TENANT_HEADER, value);
        }
        Ok(request)
    }
}
