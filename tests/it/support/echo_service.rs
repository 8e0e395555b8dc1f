//! `ravelin.interop.Echo` in the shape that tonic-build would generate it in, written by hand so
//! that nobody needs protoc: messages, client, service trait and server.

use std::convert::Infallible;

use tonic::client::{self, GrpcService};
use tonic::codegen::{
    Arc, Body, BoxFuture, BoxStream, Bytes, Context, Poll, Service, StdError, async_trait, http,
};
use tonic::{
    Code, IntoRequest, IntoStreamingRequest, Request, Response, Status, Streaming, server,
};
use tonic_prost::ProstCodec;

/// The service's full name.
pub const NAME: &str = "ravelin.interop.Echo";

/// What a call carries.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Ping {
    /// Comes back.
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: Bytes,
    /// How many, where the method or the order has a number.
    #[prost(uint32, tag = "2")]
    pub count: u32,
    /// What to do instead of the ordinary.
    #[prost(string, tag = "3")]
    pub order: String,
}

/// What it is answered with.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Pong {
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: Bytes,
    #[prost(uint32, tag = "2")]
    pub count: u32,
}

/// The description that reflection gives out.
pub fn descriptor() -> prost_types::FileDescriptorSet {
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
        ServiceDescriptorProto,
    };
    let field = |name: &str, number: i32, kind: Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    };
    let message = |name: &str, field: Vec<FieldDescriptorProto>| DescriptorProto {
        name: Some(name.to_owned()),
        field,
        ..DescriptorProto::default()
    };
    let method = |name: &str, client: bool, server: bool| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".ravelin.interop.Ping".to_owned()),
        output_type: Some(".ravelin.interop.Pong".to_owned()),
        client_streaming: Some(client),
        server_streaming: Some(server),
        ..MethodDescriptorProto::default()
    };
    let payload = || field("payload", 1, Type::Bytes);
    let count = || field("count", 2, Type::Uint32);
    let file = FileDescriptorProto {
        name: Some("ravelin/interop.proto".to_owned()),
        package: Some("ravelin.interop".to_owned()),
        message_type: vec![
            message("Ping", vec![payload(), count(), field("order", 3, Type::String)]),
            message("Pong", vec![payload(), count()]),
        ],
        service: vec![ServiceDescriptorProto {
            name: Some("Echo".to_owned()),
            method: vec![
                method("Unary", false, false),
                method("Split", false, true),
                method("Collect", true, false),
                method("Chat", true, true),
            ],
            ..ServiceDescriptorProto::default()
        }],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    prost_types::FileDescriptorSet { file: vec![file] }
}

/// The client.
#[derive(Clone, Debug)]
pub struct EchoClient<T> {
    inner: client::Grpc<T>,
}

impl<T> EchoClient<T>
where
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    pub fn new(inner: T) -> Self {
        Self { inner: client::Grpc::new(inner) }
    }

    pub fn max_decoding_message_size(self, limit: usize) -> Self {
        Self { inner: self.inner.max_decoding_message_size(limit) }
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.inner
            .ready()
            .await
            .map_err(|error| Status::unknown(format!("service was not ready: {}", error.into())))
    }

    /// One message, one answer.
    pub async fn unary(&mut self, ping: impl IntoRequest<Ping>) -> Result<Response<Pong>, Status> {
        self.call("/ravelin.interop.Echo/Unary", ping).await
    }

    /// A unary call of any path.
    pub async fn call(
        &mut self,
        path: &'static str,
        ping: impl IntoRequest<Ping>,
    ) -> Result<Response<Pong>, Status> {
        self.ready().await?;
        let path = http::uri::PathAndQuery::from_static(path);
        self.inner.unary(ping.into_request(), path, ProstCodec::default()).await
    }

    /// One message, many answers.
    pub async fn split(
        &mut self,
        ping: impl IntoRequest<Ping>,
    ) -> Result<Response<Streaming<Pong>>, Status> {
        self.ready().await?;
        let path = http::uri::PathAndQuery::from_static("/ravelin.interop.Echo/Split");
        self.inner.server_streaming(ping.into_request(), path, ProstCodec::default()).await
    }

    /// Many messages, one answer.
    pub async fn collect(
        &mut self,
        pings: impl IntoStreamingRequest<Message = Ping>,
    ) -> Result<Response<Pong>, Status> {
        self.ready().await?;
        let path = http::uri::PathAndQuery::from_static("/ravelin.interop.Echo/Collect");
        self.inner
            .client_streaming(pings.into_streaming_request(), path, ProstCodec::default())
            .await
    }

    /// Many messages, many answers.
    pub async fn chat(
        &mut self,
        pings: impl IntoStreamingRequest<Message = Ping>,
    ) -> Result<Response<Streaming<Pong>>, Status> {
        self.ready().await?;
        let path = http::uri::PathAndQuery::from_static("/ravelin.interop.Echo/Chat");
        self.inner.streaming(pings.into_streaming_request(), path, ProstCodec::default()).await
    }
}

/// What a server of the service does.
#[async_trait]
pub trait Echo: Send + Sync + 'static {
    async fn unary(&self, request: Request<Ping>) -> Result<Response<Pong>, Status>;
    async fn split(&self, request: Request<Ping>) -> Result<Response<BoxStream<Pong>>, Status>;
    async fn collect(&self, request: Request<Streaming<Ping>>) -> Result<Response<Pong>, Status>;
    async fn chat(
        &self,
        request: Request<Streaming<Ping>>,
    ) -> Result<Response<BoxStream<Pong>>, Status>;
}

/// The server.
pub struct EchoServer<T> {
    inner: Arc<T>,
}

impl<T> Clone for EchoServer<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T: Echo> EchoServer<T> {
    pub fn new(inner: Arc<T>) -> Self {
        Self { inner }
    }
}

struct Method<T>(Arc<T>);

/// One of tonic's four kinds of method for [`Method`]; a type of its own for each, since one type
/// could not tell them apart.
macro_rules! method {
    ($name:ident, $kind:ident <$input:ty>, [$($stream:ident)?], $call:ident, $answer:ty) => {
        struct $name<T>(Method<T>);

        impl<T: Echo> server::$kind<Ping> for $name<T> {
            type Response = Pong;
            $(type $stream = BoxStream<Pong>;)?
            type Future = BoxFuture<Response<$answer>, Status>;

            fn call(&mut self, request: Request<$input>) -> Self::Future {
                let inner = Arc::clone(&self.0.0);
                Box::pin(async move { inner.$call(request).await })
            }
        }
    };
}

method!(Unary, UnaryService<Ping>, [], unary, Pong);
method!(Split, ServerStreamingService<Ping>, [ResponseStream], split, BoxStream<Pong>);
method!(Collect, ClientStreamingService<Streaming<Ping>>, [], collect, Pong);
method!(Chat, StreamingService<Streaming<Ping>>, [ResponseStream], chat, BoxStream<Pong>);

impl<T, B> Service<http::Request<B>> for EchoServer<T>
where
    T: Echo,
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let method = Method(Arc::clone(&self.inner));
        Box::pin(async move {
            let mut grpc = server::Grpc::new(ProstCodec::default());
            Ok(match request.uri().path() {
                "/ravelin.interop.Echo/Unary" => grpc.unary(Unary(method), request).await,
                "/ravelin.interop.Echo/Split" => {
                    grpc.server_streaming(Split(method), request).await
                }
                "/ravelin.interop.Echo/Collect" => {
                    grpc.client_streaming(Collect(method), request).await
                }
                "/ravelin.interop.Echo/Chat" => grpc.streaming(Chat(method), request).await,
                _ => Status::new(Code::Unimplemented, "").into_http(),
            })
        })
    }
}
